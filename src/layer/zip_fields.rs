//! Numbers and extra fields of ZIP headers.
//!
//! Specification: APPNOTE 6.3.10 of PKWARE, sections 4.3 to 4.6.

/// Bytes from which fields are taken, one after the other, numbers with their lowest byte first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `length` bytes; `None` where there are fewer.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

/// Sizes and place of a member, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) size: u64,
    pub(super) packed: u64,
    pub(super) offset: u64,
}

/// Numbers of extra fields: larger sizes, and the name in UTF-8.
const ZIP64: u16 = 0x0001;
const UNICODE_NAME: u16 = 0x7075;

/// Extra fields that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokenExtra;

/// The data of the extra field with the number `wanted`, if there is one. Up to three bytes behind the last field are
/// none; some writers leave them.
fn extra_field(extra: &[u8], wanted: u16) -> Result<Option<&[u8]>, BrokenExtra> {
    let mut fields = Fields::new(extra);
    let mut found = None;
    while fields.0.len() >= 4 {
        let number = fields.u16().ok_or(BrokenExtra)?;
        let length = fields.u16().ok_or(BrokenExtra)?;
        let data = fields.take(length.into()).ok_or(BrokenExtra)?;
        if number == wanted {
            // Two of a kind would be two truths.
            if found.is_some() {
                return Err(BrokenExtra);
            }
            found = Some(data);
        }
    }
    Ok(found)
}

/// Sizes and place, with those that 32 bits could not hold taken from the extra field.
pub(super) fn zip64(
    extra: &[u8],
    size: u32,
    packed: u32,
    offset: Option<u32>,
) -> Result<Sizes, BrokenExtra> {
    let mut fields = Fields::new(extra_field(extra, ZIP64)?.unwrap_or_default());
    let there = !fields.is_empty();
    let mut large = |short: u32| {
        if short == u32::MAX && there {
            fields.u64().ok_or(BrokenExtra)
        } else {
            Ok(short.into())
        }
    };
    Ok(Sizes {
        size: large(size)?,
        packed: large(packed)?,
        offset: large(offset.unwrap_or_default())?,
    })
}

/// The name that an extra field states besides that of the header, if any.
pub(super) fn unicode_name(extra: &[u8]) -> Result<Option<&[u8]>, BrokenExtra> {
    let data = extra_field(extra, UNICODE_NAME)?;
    // Version and checksum of the other name come first.
    Ok(data.map(|data| data.get(5..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("short");
        [&number.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
    }

    #[test]
    fn large_numbers_stand_in_the_extra_field() {
        let numbers: Vec<u8> = [5_u64 << 32, 7]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let extra = [field(9, b"ab"), field(ZIP64, &numbers), vec![1, 2, 3]].concat();
        assert_eq!(
            zip64(&extra, u32::MAX, 3, Some(u32::MAX)),
            Ok(Sizes {
                size: 5 << 32,
                packed: 3,
                offset: 7
            })
        );
        assert_eq!(
            zip64(&[], 1, 2, Some(3)),
            Ok(Sizes {
                size: 1,
                packed: 2,
                offset: 3
            })
        );
        // One number too few, a field that is cut off, two fields of a kind.
        assert_eq!(
            zip64(&extra, u32::MAX, u32::MAX, Some(u32::MAX)),
            Err(BrokenExtra)
        );
        assert_eq!(zip64(&extra[..12], 0, 0, None), Err(BrokenExtra));
        let twice = field(ZIP64, &numbers).repeat(2);
        assert_eq!(zip64(&twice, 0, 0, None), Err(BrokenExtra));
    }

    #[test]
    fn a_second_name_is_seen() {
        let extra = field(UNICODE_NAME, b"\x01crc4name");
        assert_eq!(unicode_name(&extra), Ok(Some(&b"name"[..])));
        assert_eq!(
            unicode_name(&field(UNICODE_NAME, b"\x01")),
            Ok(Some(&b""[..]))
        );
        assert_eq!(unicode_name(&field(3, b"\x01crc4name")), Ok(None));
    }
}
