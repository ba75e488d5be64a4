//! Every message reads back what was written.

use super::*;

#[test]
fn sub_batches_read_back_what_was_written() {
    let mut body = [0xAA; 128];
    let header = SubBatchHeader {
        ticket: 1,
        producer: u128::MAX - 2,
        epoch: 3,
        stream: 4,
        flags: SubBatchHeader::EXPLICIT,
        first_sequence: 5,
        count: 3,
        schema_id: 6,
        sent_ns: 7,
    };
    header.write(&mut body);
    let (read, offsets, rows) = SubBatchHeader::read(&body);
    assert_eq!(read, header);
    assert_eq!(offsets.map(<[u8]>::len), Some(12));
    assert_eq!(rows.len(), 128 - SubBatchHeader::BYTES - 16);
}

#[test]
fn replies_read_back_what_was_written() {
    let mut body = [0xAA; 128];
    let ack = AckReply {
        ticket: 1,
        accepted: 2,
        rejected: 3,
        reject_sequence: 4,
        reject_reason: 5,
        reject_field: 6,
        status: AckStatus::Fenced,
        level: 3,
        duplicates: 9,
        spent: OwnerTimes {
            apply_ns: 1,
            batch_ns: 2,
            write_ns: 3,
            sync_ns: 4,
        },
    };
    ack.write(&mut body);
    assert_eq!(AckReply::read(&body), ack);
}

#[test]
fn questions_notes_and_answers_read_back_what_was_written() {
    let mut body = [0xAA; 128];
    let ask = ProducerAsk {
        ticket: 1,
        producer: 2,
        epoch: 3,
    };
    ask.write(&mut body);
    body[ProducerAsk::BYTES..ProducerAsk::BYTES + 4].copy_from_slice(b"shop");
    assert_eq!(
        ProducerAsk::read(&body[..ProducerAsk::BYTES + 4]),
        (ask, "shop")
    );

    let tell = ProducerTell {
        ticket: 1,
        last_sequence: 2,
        complete_through: 1,
        epoch: 3,
    };
    tell.write(&mut body);
    assert_eq!(ProducerTell::read(&body), tell);

    let note = WatermarkNote {
        stream: 1,
        allowed_ms: -2,
        recorded_ms: 77,
    };
    note.write(&mut body);
    assert_eq!(WatermarkNote::read(&body), note);

    let adopt = Adopt { fd: 77 };
    adopt.write(&mut body);
    assert_eq!(Adopt::read(&body), adopt);

    let answer = AnswerHeader {
        ticket: 9,
        last: true,
    };
    answer.write(&mut body);
    assert_eq!(AnswerHeader::read(&body).0, answer);
}
