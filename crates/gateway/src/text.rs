//! Numbers, ids and addresses written as text into a buffer: what every request writes, without `std::fmt`.

use credentialflow_model::RequestId;
use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

/// Writes a number in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, n: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Writes the lowest `digits` hexadecimal digits of a number, lower case.
pub(crate) fn push_hex(out: &mut Vec<u8>, n: u128, digits: u32) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..digits).rev().map(|digit| HEX[(n >> (4 * digit)) as usize & 15]));
}

/// Writes a request's id, a ULID.
pub(crate) fn push_request_id(out: &mut Vec<u8>, id: RequestId) {
    let mut text = [0; ulid::ULID_LEN];
    out.extend_from_slice(ulid::Ulid(id.0).array_to_str(&mut text).as_bytes());
}

/// Writes an address.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => push_v4(out, v4),
        // Writing into a Vec does not fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn push_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let [a, b, c, d] = address.octets();
    push_decimal(out, a);
    for octet in [b, c, d] {
        out.push(b'.');
        push_decimal(out, octet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn reads_as_fmt_writes_it(n in any::<u64>(), wide in any::<u128>(), v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>()) {
            prop_assert_eq!(text(|o| push_decimal(o, n)), n.to_string());
            prop_assert_eq!(text(|o| push_hex(o, wide, 32)), format!("{wide:032x}"));
            prop_assert_eq!(text(|o| push_hex(o, n.into(), 16)), format!("{n:016x}"));
            prop_assert_eq!(text(|o| push_request_id(o, RequestId(wide))), RequestId(wide).to_string());
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|o| push_address(o, address)), address.to_string());
            }
        }
    }
}
