//! Arrays in NumPy files that hold a pickled mapping.
//!
//! A pickle is a program. This reader runs none of it: calls become plain nodes that say what would have been called,
//! nothing is imported, and only the shapes of NumPy arrays are recognised afterwards. Opcodes that NumPy does not
//! write are refused.

use std::collections::HashMap;
use std::path::Path;

use crate::learn::dataset::{DataError, unfit, unreadable};

/// A larger file is refused unread.
const BYTES_MAX: u64 = 512 << 20;
/// More nodes than this are no mapping of arrays.
const NODES_MAX: usize = 1 << 16;

/// An array of anything, as where it is zero.
pub(super) struct Shape {
    pub height: usize,
    pub width: usize,
    /// Row by row.
    pub set: Vec<bool>,
}

/// The two-dimensional arrays of the mapping under `key` in the mapping that the file holds, by name.
pub(super) fn arrays(file: &Path, key: &str) -> Result<Vec<(String, Shape)>, DataError> {
    let size = std::fs::metadata(file).map_err(|e| unreadable(file, e))?.len();
    if size > BYTES_MAX {
        let cause = format!("it is larger than {} MiB; leave it out", BYTES_MAX >> 20);
        return Err(unfit(file, cause));
    }
    let bytes = std::fs::read(file).map_err(|e| unreadable(file, e))?;
    let found = body(&bytes).and_then(|body| {
        let pile = Pile::run(body)?;
        let whole = pile.only_element()?;
        let named = pile.entries(pile.value(whole, key)?)?;
        let array = |(name, node): (String, usize)| Some((name, pile.array(node)?));
        named.into_iter().map(array).collect::<Option<Vec<_>>>()
    });
    found.ok_or_else(|| {
        let cause = format!(
            "it is no NumPy file of a mapping with `{key}` to arrays of two axes; check that it is the file as published"
        );
        unfit(file, cause)
    })
}

/// What follows the header of a `.npy` file.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (length, rest) = match rest.first()? {
        1 => (usize::from(u16::from_le_bytes(*rest.get(2..4)?.first_chunk()?)), rest.get(4..)?),
        _ => (u32::from_le_bytes(*rest.get(2..6)?.first_chunk()?) as usize, rest.get(6..)?),
    };
    rest.get(length..)
}

enum Node {
    Mark,
    None,
    Int(i64),
    Text(String),
    /// First byte and one past the last, in the pickle.
    Bytes(usize, usize),
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    /// What a call would have made, and what would be set on it afterwards.
    Made {
        state: Option<usize>,
    },
}

/// The stack machine and all it made.
struct Pile<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    memo: HashMap<usize, usize>,
}

impl<'a> Pile<'a> {
    fn run(bytes: &'a [u8]) -> Option<Self> {
        let (nodes, stack, memo) = (Vec::new(), Vec::new(), HashMap::new());
        let mut pile = Self { bytes, at: 0, nodes, stack, memo };
        while pile.step()? {
            if pile.nodes.len() > NODES_MAX {
                return None;
            }
        }
        Some(pile)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    fn number(&mut self, n: usize) -> Option<usize> {
        let taken = self.take(n)?;
        let value = taken.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
        usize::try_from(value).ok()
    }

    fn line(&mut self) -> Option<String> {
        let length = self.bytes.get(self.at..)?.iter().position(|b| *b == b'\n')?;
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.at += 1;
        Some(text)
    }

    fn push(&mut self, node: Node) -> Option<()> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Some(())
    }

    fn text(&mut self, length: usize) -> Option<()> {
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.push(Node::Text(text))
    }

    fn blob(&mut self, length: usize) -> Option<()> {
        self.take(length)?;
        self.push(Node::Bytes(self.at - length, self.at))
    }

    fn pop(&mut self, count: usize) -> Option<Vec<usize>> {
        Some(self.stack.split_off(self.stack.len().checked_sub(count)?))
    }

    fn since_mark(&mut self) -> Option<Vec<usize>> {
        let mark = self.stack.iter().rposition(|i| matches!(self.nodes[*i], Node::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }

    fn list(&mut self, items: Option<Vec<usize>>) -> Option<()> {
        self.push(Node::List(items?))
    }

    fn append(&mut self, items: Vec<usize>) -> Option<()> {
        match &mut self.nodes[*self.stack.last()?] {
            Node::List(list) => list.extend(items),
            Node::Map(map) => map.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return None,
        }
        Some(())
    }

    /// One opcode; false at the end.
    fn step(&mut self) -> Option<bool> {
        match self.take(1)?[0] {
            b'.' => return Some(false),
            0x80 => {
                self.take(1)?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'(' => self.push(Node::Mark)?,
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Int(1))?,
            0x89 => self.push(Node::Int(0))?,
            b'K' => self.whole(1)?,
            b'M' => self.whole(2)?,
            b'J' => {
                let value = i32::from_le_bytes(*self.take(4)?.first_chunk()?);
                self.push(Node::Int(i64::from(value)))?;
            }
            0x8a => {
                let length = self.number(1)?;
                if length > 7 {
                    return None;
                }
                self.whole(length)?;
            }
            b'X' | b'T' => self.sized(4, Self::text)?,
            0x8c | b'U' => self.sized(1, Self::text)?,
            b'C' => self.sized(1, Self::blob)?,
            b'B' => self.sized(4, Self::blob)?,
            0x8e => self.sized(8, Self::blob)?,
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push(Node::Text(name))?;
            }
            0x93 => {
                let pair = self.pop(2)?;
                let [Node::Text(module), Node::Text(name)] =
                    [&self.nodes[pair[0]], &self.nodes[pair[1]]]
                else {
                    return None;
                };
                let name = format!("{module}.{name}");
                self.push(Node::Text(name))?;
            }
            b']' | b')' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Map(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(self.bytes[self.at - 1] - 0x84);
                let items = self.pop(count);
                self.list(items)?;
            }
            b't' | b'l' => {
                let items = self.since_mark();
                self.list(items)?;
            }
            b'a' => {
                let items = self.pop(1)?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop(2)?;
                self.append(items)?;
            }
            b'e' | b'u' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b'R' => {
                self.pop(2)?;
                self.push(Node::Made { state: None })?;
            }
            b'b' => {
                let set = self.stack.pop()?;
                let Node::Made { state } = &mut self.nodes[*self.stack.last()?] else {
                    return None;
                };
                *state = Some(set);
            }
            memo => self.remember(memo)?,
        }
        Some(true)
    }

    fn whole(&mut self, bytes: usize) -> Option<()> {
        let value = i64::try_from(self.number(bytes)?).ok()?;
        self.push(Node::Int(value))
    }

    fn sized(&mut self, bytes: usize, read: fn(&mut Self, usize) -> Option<()>) -> Option<()> {
        let length = self.number(bytes)?;
        read(self, length)
    }

    /// Opcodes that keep the top of the stack for later or bring it back.
    fn remember(&mut self, code: u8) -> Option<()> {
        let slot = match code {
            b'q' | b'h' => self.number(1)?,
            b'r' | b'j' => self.number(4)?,
            0x94 => self.memo.len(),
            _ => return None,
        };
        if matches!(code, b'h' | b'j') {
            self.stack.push(*self.memo.get(&slot)?);
        } else {
            self.memo.insert(slot, *self.stack.last()?);
        }
        Some(())
    }

    /// The one element of the object array that is the file.
    fn only_element(&self) -> Option<usize> {
        let Node::Made { state: Some(state) } = &self.nodes[*self.stack.last()?] else {
            return None;
        };
        match &self.nodes[*self.items(*state)?.get(4)?] {
            Node::List(elements) => elements.first().copied(),
            _ => None,
        }
    }

    fn items(&self, node: usize) -> Option<&[usize]> {
        match &self.nodes[node] {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    fn entries(&self, node: usize) -> Option<Vec<(String, usize)>> {
        let Node::Map(map) = &self.nodes[node] else { return None };
        let named = |(key, value): &(usize, usize)| match &self.nodes[*key] {
            Node::Text(name) => Some((name.clone(), *value)),
            _ => None,
        };
        map.iter().map(named).collect()
    }

    fn value(&self, node: usize, key: &str) -> Option<usize> {
        self.entries(node)?.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// An array whose state NumPy wrote: version, shape, type, whether columns come first, bytes.
    fn array(&self, node: usize) -> Option<Shape> {
        let Node::Made { state: Some(state) } = &self.nodes[node] else { return None };
        let state = self.items(*state)?;
        let axis = |i: usize| match self.nodes[*self.items(*state.get(1)?)?.get(i)?] {
            Node::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        let (height, width) = (axis(0)?, axis(1)?);
        let columns_first = matches!(self.nodes[*state.get(3)?], Node::Int(1));
        let Node::Bytes(from, to) = self.nodes[*state.get(4)?] else { return None };
        let pixels = height.checked_mul(width)?;
        let size = (to - from)
            .checked_div(pixels)
            .filter(|size| size * pixels == to - from && *size > 0)?;
        // Masks of several channels are set where one of them is; with columns first these lie apart.
        if columns_first && self.items(*state.get(1)?)?.len() > 2 {
            return None;
        }
        let set = |i: usize| {
            let (y, x) = (i / width, i % width);
            let at = from + size * if columns_first { x * height + y } else { i };
            self.bytes[at..at + size].iter().any(|b| *b != 0)
        };
        Some(Shape { height, width, set: (0..pixels).map(set).collect() })
    }
}
