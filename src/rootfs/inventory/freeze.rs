//! The inventory of a layer that has been read gets the form in which it is used and stored.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::builder::{InventoryBuilder, Kind, REPLACED, ROOT, WHITEOUT_METADATA};
use super::contents::{Contents, Target};
use super::{ATTRIBUTES, EXTENT, Header, Inventory, OPAQUE, RECORD, WANTED};
use crate::digest::Digest;

/// A table of an inventory, and how much of what is in it.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    records: u32,
    extents: u32,
    attributes: u32,
}

/// An inventory that is whole, but whose layer has not been verified yet.
#[derive(Debug)]
pub struct Unsealed {
    contents: Contents,
    table: Table,
}

/// Lays out the nodes of `builder`, breadth first.
pub(super) fn table(builder: &InventoryBuilder<'_>) -> Table {
    let nodes = &builder.nodes;
    let name = |id: u32| builder.bytes_of(nodes[id as usize].name);
    // Children of one folder lie together after this, sorted by name.
    let mut sorted: Vec<u32> = (1..)
        .take(nodes.len() - 1)
        .filter(|id| {
            nodes[*id as usize].flags & REPLACED == 0 && !name(*id).starts_with(WHITEOUT_METADATA)
        })
        .collect();
    sorted.sort_unstable_by(|left, right| {
        let parents = (nodes[*left as usize].parent, nodes[*right as usize].parent);
        parents
            .0
            .cmp(&parents.1)
            .then_with(|| name(*left).cmp(name(*right)))
    });
    let children = |id: u32| {
        let start = sorted.partition_point(|child| nodes[*child as usize].parent < id);
        let end = sorted.partition_point(|child| nodes[*child as usize].parent <= id);
        &sorted[start..end]
    };
    let mut order = vec![ROOT];
    let mut bytes = Vec::with_capacity((sorted.len() + 1) * RECORD);
    let mut at = 0;
    while let Some(&id) = order.get(at) {
        at += 1;
        let node = &nodes[id as usize];
        let number = if node.kind == Kind::Directory {
            let children = children(id);
            let first = order.len() as u64;
            order.extend_from_slice(children);
            first | (children.len() as u64) << 32
        } else {
            node.size
        };
        let span = builder.span_of(node.name);
        bytes.extend(span.0.to_le_bytes());
        // A name is part of a path, whose length has 13 bits.
        bytes.extend(u16::try_from(span.1).unwrap_or(u16::MAX).to_le_bytes());
        bytes.push(match node.kind {
            Kind::Directory => 0,
            Kind::File => 1,
            Kind::Symlink => 2,
            Kind::Other => 3,
            Kind::Whiteout => 4,
            Kind::HardLink => 5,
        });
        bytes.push(node.flags & (OPAQUE | WANTED));
        bytes.extend(number.to_le_bytes());
        bytes.extend(node.text.0.to_le_bytes());
        bytes.extend(node.text.1.to_le_bytes());
        bytes.extend(node.contents.to_le_bytes());
        bytes.extend(node.facts.to_le_bytes());
        bytes.extend(node.attributes.to_le_bytes());
    }
    let attributes = builder.attributes.list();
    bytes.reserve_exact(
        builder.extents.len() * EXTENT + attributes.len() * ATTRIBUTES + builder.text.len(),
    );
    for extent in &builder.extents {
        bytes.extend(extent.offset.to_le_bytes());
        bytes.extend(extent.length.to_le_bytes());
        bytes.extend(extent.sum.to_le_bytes());
    }
    for each in attributes {
        bytes.extend(each.mode.to_le_bytes());
        bytes.extend(each.uid.to_le_bytes());
        bytes.extend(each.gid.to_le_bytes());
    }
    bytes.extend_from_slice(&builder.text);
    // The builder's own indices have 32 bits.
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    Table {
        records: count(order.len()),
        extents: count(builder.extents.len()),
        attributes: count(attributes.len()),
        bytes,
    }
}

impl Unsealed {
    pub(super) fn new(contents: Contents, table: Table) -> Self {
        Self { contents, table }
    }

    /// How many paths it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.table.records)
    }

    /// Never: the root is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.records == 0
    }

    /// The inventory of the layer `diff_id`, which has been verified. Where its contents were written to a file, that
    /// gets the name `path`; the second value is why it did not.
    ///
    /// # Errors
    /// When what was written cannot be read.
    pub fn seal(
        mut self,
        diff_id: &Digest,
        path: &Path,
    ) -> io::Result<(Inventory, Option<io::Error>)> {
        let header = Header {
            table: self.contents.length(),
            table_length: self.table.bytes.len() as u64,
            records: self.table.records,
            extents: self.table.extents,
            attributes: self.table.attributes,
        };
        let head = header.to_bytes(diff_id, &self.table.bytes);
        if matches!(self.contents.target(), Target::File(_)) {
            self.contents.append(&self.table.bytes)?;
            self.contents.flush()?;
        }
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        match self.contents.into_target() {
            Target::Memory(mut bytes) => {
                // A file that was given up on the way may have got its table already.
                bytes.truncate(usize::try_from(header.table).unwrap_or(usize::MAX));
                bytes[..head.len()].copy_from_slice(&head);
                bytes.append(&mut self.table.bytes);
                let inventory = Inventory::from_bytes(bytes, diff_id).ok_or_else(damaged)?;
                // Where there was to be a file, this says that there is none.
                Ok((inventory, Some(io::ErrorKind::StorageFull.into())))
            }
            Target::File(file) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&head)?;
                // The reader keeps the file even where it has lost its name.
                let opened = file.as_file().try_clone()?;
                let failed = file.persist(path).err().map(|error| error.error);
                let inventory = Inventory::from_file(opened, path, diff_id).ok_or_else(damaged)?;
                Ok((inventory, failed))
            }
        }
    }
}
