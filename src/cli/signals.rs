//! What ends a job without a screen: Ctrl-C, SIGTERM, a terminal that goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Failure;

/// A flag that Ctrl-C raises, and a terminal that goes (unless the shell was told with `nohup` that this is to be
/// nothing); a second one ends the process at once.
///
/// # Errors
/// When the system refuses signal handlers.
pub(crate) fn interrupt_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::<AtomicBool>::default();
    let ending = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    let hangup = (!is_ignored(libc::SIGHUP)).then_some(signal_hook::consts::SIGHUP);
    for signal in ending.into_iter().chain(hangup) {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|cause| Failure::Ours(format!("cannot listen for Ctrl-C: {cause}")))?;
    }
    Ok(flag)
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
