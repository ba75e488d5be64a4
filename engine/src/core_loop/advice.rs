//! What a client does about an error: the last column of the table in `docs/formats/wire.md`.

use ringmill_shard::wire::ErrorCode;

/// The way out of an error, as the end of its message.
pub(super) const fn what_to_do(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadMagic => "check address and client",
        ErrorCode::BadVersion => "use a client of this version",
        ErrorCode::BadLength
        | ErrorCode::BadCount
        | ErrorCode::UnknownKind
        | ErrorCode::HelloRequired
        | ErrorCode::HelloRepeated => "fix the client",
        ErrorCode::BadChecksum => "connect again and retry; fix the client if it stays",
        ErrorCode::BadName => "choose another name",
        ErrorCode::UnknownStream | ErrorCode::UnknownSchema => {
            "connect again and read the HelloAck anew"
        }
        ErrorCode::SequenceGap => "retry from `durable_through` + 1",
        ErrorCode::Fenced => "stop: another process has taken over",
        ErrorCode::DiskFull => "free space, then retry",
        ErrorCode::ShardFailed => "retry the same sequences after the restart",
        ErrorCode::Overloaded => "retry later",
        ErrorCode::SlowSender => "connect again and retry",
        ErrorCode::ShuttingDown => "connect again later and retry",
        ErrorCode::Rejected => "correct the sender",
    }
}
