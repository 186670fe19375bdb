//! What ends a job without a screen: Ctrl-C, SIGTERM, a terminal that goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::flag::{register, register_conditional_shutdown};

use super::Failure;

/// A flag that Ctrl-C raises, SIGTERM, and a terminal that goes (unless the shell was told with `nohup` that this is to be
/// nothing). A second Ctrl-C or SIGTERM ends the process at once. The end of a login sends SIGTERM and a hang-up together:
/// the one is no second of the other.
///
/// # Errors
/// When the system refuses signal handlers.
pub(crate) fn interrupt_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::<AtomicBool>::default();
    let listen = |signal: libc::c_int| -> std::io::Result<()> {
        if signal != libc::SIGHUP {
            let before = Arc::<AtomicBool>::default();
            register_conditional_shutdown(signal, 130, Arc::clone(&before))?;
            register(signal, before)?;
        }
        register(signal, Arc::clone(&flag)).map(|_| ())
    };
    let hangup = (!is_ignored(libc::SIGHUP)).then_some(libc::SIGHUP);
    for signal in [libc::SIGINT, libc::SIGTERM].into_iter().chain(hangup) {
        listen(signal)
            .map_err(|cause| Failure::Ours(format!("cannot listen for Ctrl-C: {cause}")))?;
    }
    Ok(flag)
}

/// A file that grows beyond `ulimit -f` is refused with a sentence, like one on a full disk, instead of ending the process.
pub(super) fn stay_beyond_the_limit_of_files() {
    // SAFETY: an action of the system, no handler of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: asks for the action of a signal into a structure of this function, and sets none.
    let action = unsafe {
        let mut held: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &mut held) == 0).then_some(held.sa_sigaction)
    };
    action == Some(libc::SIG_IGN)
}

/// Whether Ctrl-C was pressed.
pub(crate) fn interrupted(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
