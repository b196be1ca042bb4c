//! Names for addresses, outside of the handler.
//!
//! std keeps its symboliser to itself. Its crate, `backtrace`, brings seven more, which a runtime shouldn't
//! ask of everybody; so it is a feature of that name. Without it, each line is the file and the offset in
//! it, which `addr2line` understands, and the name if the dynamic linker knows one.

use std::fmt::{self, Formatter};

/// One line for each address, each behind a line break. The first is that of an instruction, the others
/// are return addresses.
pub(super) fn write(frames: &[usize], f: &mut Formatter<'_>) -> fmt::Result {
    for (number, &address) in frames.iter().enumerate() {
        // Within the call, and not behind it: the function may end with it.
        let within = if number == 0 { address } else { address - 1 };
        write!(f, "\n{number:4}: ")?;
        line(within, f)?;
    }
    Ok(())
}

#[cfg(feature = "backtrace")]
fn line(address: usize, f: &mut Formatter<'_>) -> fmt::Result {
    use std::ptr::without_provenance_mut;
    // Inlined calls come first.
    let mut result = Ok(());
    let mut found = false;
    backtrace::resolve(without_provenance_mut(address), |symbol| {
        let between = if std::mem::replace(&mut found, true) { "\n      " } else { "" };
        let mut write = || {
            match symbol.name() {
                Some(name) => write!(f, "{between}{name:#}")?,
                None => write!(f, "{between}{address:#x}")?,
            }
            match (symbol.filename(), symbol.lineno()) {
                (Some(file), Some(line)) => {
                    write!(f, "\n             at {}:{line}", file.display())
                }
                _ => Ok(()),
            }
        };
        result = result.and_then(|()| write());
    });
    if found { result } else { write!(f, "{address:#x}") }
}

#[cfg(not(feature = "backtrace"))]
fn line(address: usize, f: &mut Formatter<'_>) -> fmt::Result {
    use std::{ffi::CStr, mem::zeroed, ptr::without_provenance};
    // SAFETY: a plain C structure, for which zeroes are a value.
    let mut known: libc::Dl_info = unsafe { zeroed() };
    // SAFETY: asks whose address that is, and has the answer written to a place of ours.
    if unsafe { libc::dladdr(without_provenance(address), &raw mut known) } == 0 {
        return write!(f, "{address:#x}");
    }
    let text = |text: *const libc::c_char| {
        // SAFETY: the linker's own string, which stays as long as that file is loaded. What runs on a
        // stack isn't unloaded.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    let offset = address - known.dli_fbase.addr();
    write!(f, "{}+{offset:#x}", text(known.dli_fname).unwrap_or_default())?;
    match text(known.dli_sname) {
        Some(name) => write!(f, " ({name})"),
        None => Ok(()),
    }
}
