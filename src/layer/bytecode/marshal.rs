//! The one form of a code object: what `marshal` writes depends on how often the interpreter holds an object at that moment
//! (whether it may be referred to), on what happens to be the same object and, before Python 3.11, on the order of sets. Here
//! it is read and written anew, so that it depends on nothing but values: equal constants are one, only what is referred to
//! has a number, and the members of sets are in the order of their bytes.
//!
//! Any interpreter that reads the one form reads the other, into equal objects.
//!
//! Format: CPython, `Python/marshal.c`.

use std::collections::HashMap;

/// Says of a type that the object gets a number by which it is referred to.
const FLAG_REF: u8 = 0x80;

/// How deep objects may lie in one another. The parser of Python gives up at a hundred levels of indentation and two hundred
/// brackets.
const DEEPEST: usize = 600;

/// Bytes of a set's member written out for comparison.
const LARGEST_MEMBER: usize = 1 << 20;

/// What takes up no more bytes than a reference to it is never referred to.
const REFERENCE: usize = 5;

/// Why a code object is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarshalError {
    /// It ends too early.
    #[error("the code ends in the middle of an object")]
    End,
    /// Bytes are left.
    #[error("something follows the code")]
    Rest,
    /// An object that code does not consist of.
    #[error("the code has an object of the unknown type 0x{0:02x}")]
    Type(u8),
    /// A reference to nothing.
    #[error("the code refers to an object that it does not have")]
    Reference,
    /// Objects in objects in objects.
    #[error("the objects of the code lie too deep in one another")]
    Depth,
    /// A member of a set that is too large.
    #[error("the code has a set with too large a member")]
    Member,
}

/// How the fields of a code object lie, which changed with Python 3.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CodeForm {
    /// Bytes of the numbers that come first.
    head: usize,
    /// How many objects come then, before the number of the first line.
    objects: usize,
    /// How many come last.
    last: usize,
}

impl CodeForm {
    /// The form in Python 3.`minor`.
    fn of(minor: u8) -> Self {
        let (head, last) = if minor < 11 { (24, 1) } else { (20, 2) };
        Self {
            head,
            objects: 8,
            last,
        }
    }
}

/// An object; others are named by their place among all of them.
enum Object<'a> {
    /// Bytes, its type the first of them; the flag is whether it is a string that is interned.
    Plain {
        kind: u8,
        payload: &'a [u8],
        interned: bool,
    },
    Tuple(Vec<usize>),
    FrozenSet(Vec<usize>),
    Slice([usize; 3]),
    Code {
        head: &'a [u8],
        objects: Vec<usize>,
        line: &'a [u8],
    },
}

/// What makes two objects one.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Plain(u8, &'a [u8]),
    Compound(u8, Vec<usize>),
}

struct Reader<'a> {
    form: CodeForm,
    rest: &'a [u8],
    objects: Vec<Object<'a>>,
    known: HashMap<Key<'a>, usize>,
    /// By number; `None` until the object is complete.
    numbered: Vec<Option<usize>>,
}

/// Brings the code object that `marshal.dumps` of Python 3.`minor` wrote into the one form.
///
/// # Errors
/// When it is no code object of that version.
pub(super) fn canonical(code: &[u8], minor: u8) -> Result<Vec<u8>, MarshalError> {
    let mut reader = Reader {
        form: CodeForm::of(minor),
        rest: code,
        objects: Vec::new(),
        known: HashMap::new(),
        numbered: Vec::new(),
    };
    let root = reader.object(0)?;
    if !reader.rest.is_empty() {
        return Err(MarshalError::Rest);
    }
    let mut writer = Writer {
        uses: vec![0; reader.objects.len()],
        numbers: vec![None; reader.objects.len()],
        objects: &reader.objects,
        next: 0,
        out: Vec::with_capacity(code.len()),
    };
    writer.count(root);
    writer.write(root);
    Ok(writer.out)
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MarshalError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(MarshalError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MarshalError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, MarshalError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(
            bytes.try_into().expect("four bytes were taken"),
        ))
    }

    fn length(&mut self) -> Result<usize, MarshalError> {
        usize::try_from(self.number()?).map_err(|_| MarshalError::End)
    }

    /// A length of one byte or of four.
    fn counted(&mut self, short: bool) -> Result<usize, MarshalError> {
        if short {
            Ok(self.byte()?.into())
        } else {
            self.length()
        }
    }

    fn several(&mut self, number: usize, depth: usize) -> Result<Vec<usize>, MarshalError> {
        // Each has a byte at least.
        if number > self.rest.len() {
            return Err(MarshalError::End);
        }
        (0..number).map(|_| self.object(depth + 1)).collect()
    }

    fn object(&mut self, depth: usize) -> Result<usize, MarshalError> {
        if depth > DEEPEST {
            return Err(MarshalError::Depth);
        }
        let byte = self.byte()?;
        let kind = byte & !FLAG_REF;
        if kind == b'r' {
            let number = self.length()?;
            return self
                .numbered
                .get(number)
                .copied()
                .flatten()
                .ok_or(MarshalError::Reference);
        }
        let number = (byte & FLAG_REF != 0).then(|| {
            self.numbered.push(None);
            self.numbered.len() - 1
        });
        let object = match kind {
            b')' | b'(' => {
                let length = self.counted(kind == b')')?;
                let items = self.several(length, depth)?;
                self.one(Key::Compound(b'(', items.clone()), || Object::Tuple(items))
            }
            b'>' => {
                let length = self.length()?;
                let items = self.several(length, depth)?;
                let items = self.sorted(items)?;
                self.one(Key::Compound(b'>', items.clone()), || {
                    Object::FrozenSet(items)
                })
            }
            b':' => {
                let items = self.several(3, depth)?;
                let parts = [items[0], items[1], items[2]];
                self.one(Key::Compound(b':', items), || Object::Slice(parts))
            }
            b'c' => {
                let head = self.take(self.form.head)?;
                let mut objects = self.several(self.form.objects, depth)?;
                let line = self.take(4)?;
                objects.extend(self.several(self.form.last, depth)?);
                // Two functions are two, however equal.
                self.objects.push(Object::Code {
                    head,
                    objects,
                    line,
                });
                self.objects.len() - 1
            }
            _ => self.plain(kind)?,
        };
        if let Some(number) = number {
            self.numbered[number] = Some(object);
        }
        Ok(object)
    }

    fn plain(&mut self, kind: u8) -> Result<usize, MarshalError> {
        let start = self.rest;
        match kind {
            b'N' | b'F' | b'T' | b'.' | b'S' => {}
            b'i' => {
                self.take(4)?;
            }
            b'I' | b'g' => {
                self.take(8)?;
            }
            b'y' => {
                self.take(16)?;
            }
            b'l' => {
                // A negative number of digits is that of a negative number.
                let digits = self.number()?.cast_signed().unsigned_abs();
                let digits = usize::try_from(digits).map_err(|_| MarshalError::End)?;
                self.take(digits.checked_mul(2).ok_or(MarshalError::End)?)?;
            }
            b'f' | b'z' | b'Z' => {
                let length = self.counted(true)?;
                self.take(length)?;
            }
            b'x' => {
                for _ in 0..2 {
                    let length = self.counted(true)?;
                    self.take(length)?;
                }
            }
            b's' | b't' | b'u' | b'a' | b'A' => {
                let length = self.length()?;
                self.take(length)?;
            }
            other => return Err(MarshalError::Type(other)),
        }
        let payload = &start[..start.len() - self.rest.len()];
        let (kind, interned) = match kind {
            b'Z' => (b'z', true),
            b'A' => (b'a', true),
            b't' => (b'u', true),
            other => (other, false),
        };
        let object = self.one(Key::Plain(kind, payload), || Object::Plain {
            kind,
            payload,
            interned,
        });
        if interned && let Object::Plain { interned, .. } = &mut self.objects[object] {
            *interned = true;
        }
        Ok(object)
    }

    /// The object with this key: one that was there, or a new one.
    fn one(&mut self, key: Key<'a>, new: impl FnOnce() -> Object<'a>) -> usize {
        let objects = &mut self.objects;
        *self.known.entry(key).or_insert_with(|| {
            objects.push(new());
            objects.len() - 1
        })
    }

    /// The members of a set in the order of their bytes, were each written out by itself.
    fn sorted(&self, items: Vec<usize>) -> Result<Vec<usize>, MarshalError> {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let mut bytes = Vec::new();
            self.write_out(item, &mut bytes)?;
            keyed.push((bytes, item));
        }
        keyed.sort();
        Ok(keyed.into_iter().map(|(_, item)| item).collect())
    }

    fn write_out(&self, object: usize, out: &mut Vec<u8>) -> Result<(), MarshalError> {
        if out.len() > LARGEST_MEMBER {
            return Err(MarshalError::Member);
        }
        let (kind, items): (u8, &[usize]) = match &self.objects[object] {
            Object::Plain { kind, payload, .. } => {
                out.push(*kind);
                out.extend_from_slice(payload);
                return Ok(());
            }
            Object::Tuple(items) => (b'(', items),
            Object::FrozenSet(items) => (b'>', items),
            Object::Slice(items) => (b':', items),
            // Never a member of a set.
            Object::Code { .. } => return Err(MarshalError::Type(b'c')),
        };
        out.push(kind);
        out.extend_from_slice(&(items.len() as u64).to_le_bytes());
        items.iter().try_for_each(|item| self.write_out(*item, out))
    }
}

struct Writer<'a> {
    objects: &'a [Object<'a>],
    /// How often each is written or referred to.
    uses: Vec<u32>,
    numbers: Vec<Option<u32>>,
    next: u32,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn count(&mut self, object: usize) {
        self.uses[object] += 1;
        if self.uses[object] > 1 {
            return;
        }
        let objects = self.objects;
        for part in parts(&objects[object]) {
            self.count(*part);
        }
    }

    fn write(&mut self, object: usize) {
        if let Some(number) = self.numbers[object] {
            self.out.push(b'r');
            self.out.extend_from_slice(&number.to_le_bytes());
            return;
        }
        let objects = self.objects;
        let mut flag = 0;
        if self.uses[object] > 1 && is_worth_a_reference(&objects[object]) {
            self.numbers[object] = Some(self.next);
            self.next += 1;
            flag = FLAG_REF;
        }
        match &objects[object] {
            Object::Plain {
                kind,
                payload,
                interned,
            } => {
                let kind = match (*kind, *interned) {
                    (b'z', true) => b'Z',
                    (b'a', true) => b'A',
                    (b'u', true) => b't',
                    (kind, _) => kind,
                };
                self.out.push(kind | flag);
                self.out.extend_from_slice(payload);
            }
            Object::Tuple(items) => {
                if let Ok(length) = u8::try_from(items.len()) {
                    self.out.extend_from_slice(&[b')' | flag, length]);
                } else {
                    self.out.push(b'(' | flag);
                    self.length(items.len());
                }
                self.write_all(items);
            }
            Object::FrozenSet(items) => {
                self.out.push(b'>' | flag);
                self.length(items.len());
                self.write_all(items);
            }
            Object::Slice(items) => {
                self.out.push(b':' | flag);
                self.write_all(items);
            }
            Object::Code {
                head,
                objects,
                line,
            } => {
                self.out.push(b'c' | flag);
                self.out.extend_from_slice(head);
                let (first, last) = objects.split_at(8);
                self.write_all(first);
                self.out.extend_from_slice(line);
                self.write_all(last);
            }
        }
    }

    fn write_all(&mut self, objects: &[usize]) {
        for object in objects {
            self.write(*object);
        }
    }

    fn length(&mut self, length: usize) {
        let length = u32::try_from(length).expect("it was read as a number of four bytes");
        self.out.extend_from_slice(&length.to_le_bytes());
    }
}

fn parts<'a>(object: &'a Object<'_>) -> &'a [usize] {
    match object {
        Object::Plain { .. } => &[],
        Object::Slice(items) => items,
        Object::Tuple(items) | Object::FrozenSet(items) | Object::Code { objects: items, .. } => {
            items
        }
    }
}

fn is_worth_a_reference(object: &Object<'_>) -> bool {
    match object {
        Object::Plain { payload, .. } => 1 + payload.len() >= REFERENCE,
        Object::Tuple(items) => !items.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code object of Python 3.10 with these constants.
    fn code(constants: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b'c' | FLAG_REF];
        bytes.extend([0; 24]);
        bytes.extend(b"s\x02\0\0\0d\0");
        bytes.extend(constants);
        for _ in 0..4 {
            bytes.extend(b")\0");
        }
        bytes.extend(b"z\x04/a.pz\x01a");
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(b"s\0\0\0\0");
        bytes
    }

    fn one(constants: &[u8]) -> Vec<u8> {
        canonical(&code(constants), 10).expect("a code object")
    }

    #[test]
    fn flags_that_nobody_refers_to_are_dropped() {
        let plain = one(b")\x02z\x04longi\x01\0\0\0");
        assert_eq!(one(b"\xa9\x02\xfa\x04long\xe9\x01\0\0\0"), plain);
        assert_eq!(plain[0], b'c');
    }

    #[test]
    fn equal_objects_are_one_whether_they_were_or_not() {
        // The number 0 is that of the code, 1 of the tuple, 2 of the string.
        let shared = one(b"\xa9\x02\xfa\x04longr\x02\0\0\0");
        assert_eq!(one(b")\x02z\x04longz\x04long"), shared);
        assert_eq!(
            one(b")\x02z\x04longZ\x04long"),
            one(b")\x02Z\x04longz\x04long")
        );
        let written = b"\xfa\x04longr\0\0\0\0";
        assert!(shared.windows(written.len()).any(|bytes| bytes == written));
    }

    #[test]
    fn members_of_sets_have_an_order() {
        let one_way = one(b")\x01>\x02\0\0\0z\x01bz\x01a");
        assert_eq!(one(b")\x01>\x02\0\0\0z\x01az\x01b"), one_way);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let broken = |bytes: &[u8]| canonical(bytes, 10).expect_err("no code");
        let whole = code(b")\x01N");
        for end in 0..whole.len() {
            assert_eq!(broken(&whole[..end]), MarshalError::End, "{end}");
        }
        let longer = [&whole[..], b"N"].concat();
        assert_eq!(broken(&longer), MarshalError::Rest);
        assert_eq!(broken(&code(b")\x01{0")), MarshalError::Type(b'{'));
        assert_eq!(broken(&code(b")\x01r\x07\0\0\0")), MarshalError::Reference);
        // A tuple that is its own member.
        assert_eq!(
            broken(&code(b"\xa9\x01r\x01\0\0\0")),
            MarshalError::Reference
        );
        assert_eq!(broken(&code(b"(\xff\xff\xff\xff")), MarshalError::End);
        assert_eq!(broken(&code(&b")\x01".repeat(2000))), MarshalError::Depth);
    }
}
