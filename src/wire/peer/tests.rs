//! The wire format held by golden bytes, and decoders against any bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::data::{Flag, HEADER, Header, MAX_DATA, Reason, cost};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn want(selector: Selector) -> Message {
    Message::Want {
        rid: 7,
        volume: VolumeId([0xaa; 16]),
        class: Class::Pin,
        deadline_ms: 1500,
        credit: 300_000,
        selector,
    }
}

#[test]
fn golden_control_messages() {
    let volume = "aa".repeat(16);
    let cases = [
        (Message::Hello { version: 1, features: 0 }, "000100".to_owned()),
        (Message::Head { volume: VolumeId([0xaa; 16]), head: vec![1, 2, 3] }, format!("01{volume}03010203")),
        (
            want(Selector::Ids(vec![Bid([0x11; 32]), Bid([0x22; 32])])),
            format!("0207{volume}03dc0be0a7120040{}{}", "11".repeat(32), "22".repeat(32)),
        ),
        (want(Selector::Diff { root: vec![5], old: None }), format!("0207{volume}03dc0be0a71201010500")),
        (
            want(Selector::Diff { root: vec![5], old: Some(vec![6]) }),
            format!("0207{volume}03dc0be0a7120101050101 06").replace(' ', ""),
        ),
        (
            want(Selector::Range { manifest: vec![9, 9], from: 1, to: 300 }),
            format!("0207{volume}03dc0be0a7120202090901ac02"),
        ),
        (Message::Credit { rid: 7, bytes: 65536 }, "0307808004".to_owned()),
        (Message::Cancel { rid: 7, from: 3 }, "040703".to_owned()),
    ];
    for (message, golden) in cases {
        let bytes = encode(&message).unwrap();
        assert_eq!(hex(&bytes), golden, "{message:?}");
        assert_eq!(decode(&bytes).unwrap(), message);
        let frame = encode_frame(&message).unwrap();
        assert_eq!(frame[..4], u32::try_from(bytes.len()).unwrap().to_le_bytes());
        assert_eq!(frame[4..], bytes);
    }
}

#[test]
fn golden_data_headers() {
    let cases = [
        (Header { rid: 1, index: 2, flag: Flag::Block, length: 0x0004_0010 }, "010000000200000010000400"),
        (Header { rid: 0xdead_beef, index: 9, flag: Flag::Missing, length: 0 }, "efbeadde0900000000000001"),
        (Header { rid: 1, index: 3, flag: Flag::End, length: 0 }, "010000000300000000000002"),
        (Header { rid: 1, index: 0, flag: Flag::Error, length: 1 }, "010000000000000001000003"),
    ];
    for (header, golden) in cases {
        assert_eq!(hex(&header.encode()), golden);
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }
    for code in 0..6 {
        assert_eq!(Reason::from_code(code).code(), code);
    }
    assert_eq!(Reason::from_code(200), Reason::Failed);
    assert_eq!(cost(100), 164);
}

#[test]
fn limits_hold_on_both_sides() {
    let ids = |n: usize| want(Selector::Ids(vec![Bid([1; 32]); n]));
    assert!(encode(&ids(MAX_IDS)).is_ok());
    assert!(encode(&ids(MAX_IDS + 1)).is_err());
    assert!(encode(&ids(0)).is_err(), "an empty request asks for nothing");
    let head = |n: usize| Message::Head { volume: VolumeId([0; 16]), head: vec![0; n] };
    assert!(encode(&head(MAX_HEAD)).unwrap().len() <= MAX_CONTROL);
    assert!(encode(&head(MAX_HEAD + 1)).is_err());
    assert!(encode(&want(Selector::Diff { root: vec![0; MAX_TARGET + 1], old: None })).is_err());
    assert!(encode(&want(Selector::Range { manifest: vec![], from: 2, to: 1 })).is_err());
    let too_long = Header { rid: 0, index: 0, flag: Flag::Block, length: u32::try_from(MAX_DATA).unwrap() + 1 };
    assert!(Header::decode(&too_long.encode()).is_err());
}

#[test]
fn a_list_of_ids_that_is_cut_is_refused() {
    let mut bytes = encode(&want(Selector::Ids(vec![Bid([1; 32])]))).unwrap();
    assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    let at = bytes.len() - 33;
    bytes[at] = 31;
    bytes.pop();
    assert!(decode(&bytes).is_err());
    bytes.extend_from_slice(&[0; 40]);
    assert!(decode(&bytes).is_err());
}

fn any_message() -> impl Strategy<Value = Message> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..100);
    let ids = proptest::collection::vec(any::<[u8; 32]>().prop_map(Bid), 1..20);
    let selector = prop_oneof![
        ids.prop_map(Selector::Ids),
        (bytes.clone(), proptest::option::of(bytes.clone())).prop_map(|(root, old)| Selector::Diff { root, old }),
        (bytes.clone(), any::<u64>(), any::<u64>()).prop_map(|(manifest, a, b)| Selector::Range {
            manifest,
            from: a.min(b),
            to: a.max(b)
        }),
    ];
    prop_oneof![
        (any::<u16>(), any::<u64>()).prop_map(|(version, features)| Message::Hello { version, features }),
        (any::<[u8; 16]>(), bytes).prop_map(|(v, head)| Message::Head { volume: VolumeId(v), head }),
        (any::<u32>(), any::<u32>()).prop_map(|(rid, bytes)| Message::Credit { rid, bytes }),
        (any::<u32>(), any::<u32>()).prop_map(|(rid, from)| Message::Cancel { rid, from }),
        (any::<u32>(), any::<[u8; 16]>(), 0..5_usize, any::<u32>(), any::<u32>(), selector).prop_map(
            |(rid, v, class, deadline_ms, credit, selector)| Message::Want {
                rid,
                volume: VolumeId(v),
                class: Class::ALL[class],
                deadline_ms,
                credit,
                selector
            }
        ),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_as_sent(message in any_message()) {
        prop_assert_eq!(decode(&encode(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in any::<[u8; HEADER]>()) {
        let _ = decode(&bytes);
        if let Ok(header) = Header::decode(&header) {
            prop_assert!(header.length as usize <= MAX_DATA);
        }
    }

    #[test]
    fn a_bent_message_is_refused_or_within_limits(message in any_message(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = encode(&message).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(bent) = decode(&bytes) {
            prop_assert!(encode(&bent).is_ok());
        }
    }
}
