//! Makes a script that shows a difference as short as it gets.

use super::script::Script;

/// Removes steps for as long as `differs` says that the rest still does: halves first, single steps last.
pub async fn shrink(mut script: Script, mut differs: impl AsyncFnMut(&Script) -> bool) -> Script {
    let mut size = script.steps.len().div_ceil(2);
    loop {
        let mut removed = false;
        let mut end = script.steps.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut shorter = script.clone();
            shorter.steps.drain(start..end);
            if differs(&shorter).await {
                script = shorter;
                removed = true;
            }
            end = start;
        }
        match size {
            0 | 1 if !removed => return script,
            0 | 1 => {}
            _ => size = size.div_ceil(2),
        }
    }
}
