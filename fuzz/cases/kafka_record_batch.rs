//! Any bytes as a record batch: the header parser, the codecs and the walk over the records must
//! not panic, hang or take memory beyond their bounds, and must agree with themselves.

use std::ops::ControlFlow;

use doorkeeper::kafka::record_batch::{
    BatchHeader, HEADER_LENGTH, HeaderPatch, for_each_record, patched_header, verified_batch,
};

/// One input.
pub(crate) fn run(data: &[u8]) {
    let _ = verified_batch(data);
    if data.len() < HEADER_LENGTH {
        assert!(BatchHeader::parse(data).is_err());
        return;
    }
    // With magic, length and checksum set right, so that the records are reached.
    let mut batch = data.to_vec();
    batch[16] = 2;
    let length = i32::try_from(batch.len() - 12).unwrap_or(i32::MAX);
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let patch = HeaderPatch {
        base_offset: 5,
        partition_leader_epoch: 1,
        timestamps: Some((7, data[0] & 1 == 1)),
    };
    let Ok(header) = patched_header(&batch, &patch) else { panic!("it is long enough") };
    batch[..HEADER_LENGTH].copy_from_slice(&header);
    let Ok((header, whole)) = verified_batch(&batch) else {
        panic!("the patch sets the checksum right");
    };
    assert_eq!((header.base_offset, header.max_timestamp), (5, 7));
    let mut count = 0;
    let walked = for_each_record(&header, whole, |record| {
        assert_eq!(record.index, count);
        count += 1;
        ControlFlow::<()>::Continue(())
    });
    if walked.is_ok() {
        assert_eq!(count, header.record_count.max(0));
    }
}
