//! Keys that repeat: while one is held down, a quick picture is worth more than a fine one.

use std::time::Duration;

use super::key::Key;

/// The same key again within this time was not pressed anew.
const AGAIN: Duration = Duration::from_millis(150);
/// Presses in a row that make it a repetition.
const IN_A_ROW: u8 = 3;
/// The person rests when no repetition came for so long.
const OVER: Duration = Duration::from_millis(250);

/// The run of the key pressed last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hurry {
    last: Option<(Key, Duration)>,
    run: u8,
    until: Duration,
}

impl Hurry {
    /// Notes a key pressed at `now`.
    pub fn press(&mut self, key: Key, now: Duration) {
        let again =
            self.last.is_some_and(|(last, at)| last == key && now.saturating_sub(at) <= AGAIN);
        self.run = if again { self.run.saturating_add(1) } else { 1 };
        self.last = Some((key, now));
        if self.run >= IN_A_ROW {
            self.until = now + OVER;
        }
    }

    /// When it is over, if it lasts at `now`.
    #[must_use]
    pub fn until(&self, now: Duration) -> Option<Duration> {
        (now < self.until).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_a_key_in_quick_succession_are_a_hurry_that_ends() {
        let ms = Duration::from_millis;
        let (l, j): (Key, Key) = ("l".parse().expect("a key"), "j".parse().expect("a key"));
        let mut hurry = Hurry::default();
        for (key, at) in [(l, 0), (l, 30), (j, 60), (l, 90), (l, 300), (l, 330)] {
            hurry.press(key, ms(at));
            assert_eq!(hurry.until(ms(at)), None, "{at}");
        }
        hurry.press(l, ms(360));
        assert_eq!(hurry.until(ms(400)), Some(ms(610)));
        hurry.press(l, ms(390));
        assert_eq!((hurry.until(ms(639)), hurry.until(ms(640))), (Some(ms(640)), None));
    }
}
