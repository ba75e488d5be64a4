use super::*;

const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
30 27 0:26 / /srv/with\\040blank rw,nosuid shared:5 - tmpfs tmpfs rw,size=4k\n\
31 27 259:1 /sub /data rw,noatime - xfs /dev/nvme0n1p1 rw,attr2,nobarrier\n\
32 27 259:2 / /data rw,noatime - xfs /dev/nvme0n1p2 rw,attr2\n\
half a line\n";

fn mount(dir: &str, device: (u32, u32)) -> Mount {
    find_mount(TABLE, Path::new(dir), device).unwrap()
}

#[test]
fn the_mount_of_a_directory_is_the_longest_point_above_it_on_its_device() {
    assert_eq!(mount("/var/lib", (254, 0)).filesystem, "ext4");
    assert_eq!(mount("/database", (254, 0)).filesystem, "ext4");
    assert_eq!(mount("/srv/with blank/x", (0, 26)).filesystem, "tmpfs");
    assert_eq!(
        mount("/data/store", (259, 1)).options,
        "rw,noatime,attr2,nobarrier"
    );
    assert_eq!(mount("/data/store", (259, 2)).options, "rw,noatime,attr2");
    assert_eq!(mount("/data/store", (0, 99)).point, Path::new("/data"));
}

#[test]
fn escapes_of_the_mount_table_are_undone_and_strange_ones_kept() {
    assert_eq!(unescape("a\\040b\\134c"), "a b\\c");
    assert_eq!(unescape("end\\"), "end\\");
    assert_eq!(unescape("\\9zz"), "\\9zz");
}

#[test]
fn a_partition_is_described_by_the_queue_of_its_whole_device() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("devices/nvme0n1");
    fs::create_dir_all(disk.join("queue")).unwrap();
    fs::create_dir_all(disk.join("nvme0n1p1")).unwrap();
    for (name, text) in [
        ("rq_affinity", "1\n"),
        ("write_cache", "write back\n"),
        ("fua", "0\n"),
        ("logical_block_size", "512\n"),
        ("scheduler", "none [mq-deadline] kyber\n"),
    ] {
        fs::write(disk.join("queue").join(name), text).unwrap();
    }
    let root = dir.path().join("dev");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(disk.join("nvme0n1p1"), root.join("259:1")).unwrap();
    let facts = BlockFacts::of(&root, (259, 1)).unwrap();
    assert_eq!(facts.name, "nvme0n1");
    assert_eq!(facts.rq_affinity, Some(1));
    assert_eq!(facts.write_cache.as_deref(), Some("write back"));
    assert_eq!(facts.fua, Some(false));
    assert_eq!(facts.logical_block_bytes, Some(512));
    assert_eq!(facts.physical_block_bytes, None);
    assert_eq!(facts.scheduler.as_deref(), Some("mq-deadline"));
    assert_eq!(BlockFacts::of(&root, (259, 2)), None);
}

fn healthy() -> DeviceFacts {
    DeviceFacts {
        filesystem: "ext4".into(),
        mount_options: "rw,relatime".into(),
        direct_io: Some(DirectIoFacts {
            memory_bytes: 512,
            offset_bytes: 512,
        }),
        block: Some(BlockFacts {
            name: "nvme0n1".into(),
            rq_affinity: Some(1),
            write_cache: Some("write through".into()),
            fua: Some(false),
            rotational: Some(false),
            ..BlockFacts::default()
        }),
        ..DeviceFacts::default()
    }
}

#[test]
fn advice_names_the_setting_and_the_command_and_is_silent_when_all_is_well() {
    assert_eq!(healthy().advice(), Vec::<String>::new());

    let mut facts = healthy();
    facts.block.as_mut().unwrap().write_cache = Some("write back".into());
    let advice = facts.advice().join("\n");
    assert!(
        advice.contains("echo 2 > /sys/block/nvme0n1/queue/rq_affinity"),
        "{advice}"
    );
    facts.block.as_mut().unwrap().rq_affinity = Some(2);
    assert_eq!(facts.advice(), Vec::<String>::new());

    let mut facts = healthy();
    facts.filesystem = "btrfs".into();
    facts.mount_options = "ro,nobarrier".into();
    facts.direct_io = Some(DirectIoFacts {
        memory_bytes: 4,
        offset_bytes: 16384,
    });
    let advice = facts.advice().join("\n");
    for part in ["btrfs", "barriers", "read-only", "16384"] {
        assert!(advice.contains(part), "{advice}");
    }
}

#[test]
fn the_identity_follows_the_queue_settings_and_not_the_free_space() {
    let first = healthy();
    let mut second = healthy();
    second.free_bytes = 5;
    assert_eq!(first.identity(), second.identity());
    second.block.as_mut().unwrap().rq_affinity = Some(2);
    assert_ne!(first.identity(), second.identity());
    second.mount_options = "a\nb".into();
    assert!(!second.identity().contains('\n'));
}

#[test]
fn the_facts_of_a_real_directory_are_consistent() {
    let facts = DeviceFacts::of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(!facts.kernel_release.is_empty());
    assert_ne!(facts.filesystem, "unknown");
    assert!(facts.to_string().contains(&facts.filesystem));
    assert!(DeviceFacts::of(Path::new("/no/such/directory")).is_err());
}
