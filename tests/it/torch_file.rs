//! Files as `torch.save` writes them: a pickle and one file for each storage, in an archive without compression.

/// What a key of the saved dictionary holds.
pub(crate) enum Saved<'a> {
    /// Numbers of a storage class (`FloatStorage`, `HalfStorage`) in a shape.
    Tensor(&'static str, &'a [usize], &'a [u8]),
    /// `os.system(command)`, called by whoever unpickles.
    Call(&'a str),
}

/// `{"model": {key: value, ..}}`.
pub(crate) fn saved_model(values: &[(&str, Saved<'_>)]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}".to_vec();
    text(&mut pickle, "model");
    pickle.extend(b"}(");
    for (at, (key, value)) in values.iter().enumerate() {
        text(&mut pickle, key);
        match value {
            Saved::Tensor(storage, shape, bytes) => {
                tensor(&mut pickle, storage, at, shape, bytes.len())
            }
            Saved::Call(command) => call(&mut pickle, command),
        }
    }
    pickle.extend(b"us.");
    let storages = values.iter().enumerate().filter_map(|(at, (_, value))| match value {
        Saved::Tensor(_, _, bytes) => Some((format!("archive/data/{at}"), *bytes)),
        Saved::Call(_) => None,
    });
    archive(&pickle, storages.collect())
}

/// A file that is nothing but a call of `os.system(command)`.
pub(crate) fn saved_call(command: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02".to_vec();
    call(&mut pickle, command);
    pickle.push(b'.');
    archive(&pickle, Vec::new())
}

/// An archive with zip64's end records, over which readers stumble because its first entry is as long as they are, and a
/// pickle of so many objects.
pub(crate) fn saved_wide(objects: usize) -> Vec<u8> {
    let folder = "x".repeat(21);
    let pickle = [b"\x80\x02", &vec![b'N'; objects][..], b"."].concat();
    let files: Vec<(String, &[u8])> = vec![
        (format!("{folder}/data.pkl"), &pickle[..]),
        (format!("{folder}/byteorder"), b"little"),
        (format!("{folder}/version"), b"3\n"),
    ];
    let archive = zip(&files);
    let (entries, end) = archive.split_at(archive.len() - 22);
    [entries, b"PK\x06\x06", &[7; 52], b"PK\x06\x07", &[8; 16], end].concat()
}

fn archive(pickle: &[u8], storages: Vec<(String, &[u8])>) -> Vec<u8> {
    let mut files: Vec<(String, &[u8])> =
        vec![("archive/data.pkl".into(), pickle), ("archive/byteorder".into(), b"little")];
    files.extend(storages);
    files.push(("archive/version".into(), b"3\n"));
    zip(&files)
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn number(pickle: &mut Vec<u8>, n: usize) {
    pickle.push(b'J');
    pickle.extend((n as i32).to_le_bytes());
}

fn numbers(pickle: &mut Vec<u8>, all: impl Iterator<Item = usize>) {
    pickle.push(b'(');
    all.for_each(|n| number(pickle, n));
    pickle.push(b't');
}

/// `torch._utils._rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict())`.
fn tensor(pickle: &mut Vec<u8>, storage: &str, key: usize, shape: &[usize], bytes: usize) {
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(pickle, "storage");
    pickle.extend(format!("ctorch\n{storage}\n").bytes());
    text(pickle, &key.to_string());
    text(pickle, "cpu");
    number(pickle, bytes / if storage == "HalfStorage" { 2 } else { 4 });
    pickle.extend(b"tQ");
    number(pickle, 0);
    numbers(pickle, shape.iter().copied());
    numbers(pickle, (1..=shape.len()).map(|i| shape[i..].iter().product()));
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

/// `posix.system(command)`, as which `os.system` is pickled.
fn call(pickle: &mut Vec<u8>, command: &str) {
    pickle.extend(b"cposix\nsystem\n");
    text(pickle, command);
    pickle.extend(b"\x85R");
}

/// An archive of stored files.
fn zip(files: &[(String, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (crc, size) =
            (crc32fast::hash(bytes).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        // Version, flags, method, time, date; checksum and twice the size; lengths of the name and of nothing more.
        let mut entry = [20u16, 0, 0, 0, 33].map(u16::to_le_bytes).concat();
        entry.extend([crc, size, size].concat());
        entry.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&entry);
        directory.extend([0; 10]);
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&entry);
        out.extend(name.bytes());
        out.extend(*bytes);
    }
    let (start, count) = (out.len() as u32, files.len() as u16);
    let end = [0, 0, count, count].map(u16::to_le_bytes).concat();
    let size = directory.len() as u32;
    out.extend(directory);
    out.extend(b"PK\x05\x06");
    out.extend(end);
    out.extend([size, start].map(u32::to_le_bytes).concat());
    out.extend([0, 0]);
    out
}
