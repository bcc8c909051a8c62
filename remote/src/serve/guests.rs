//! How many connections there are, in all and from one address or user.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A host's, by what it cannot choose of its address.
    Host(IpAddr),
    /// A user's of this machine, by number.
    User(u32),
}

impl Origin {
    /// Of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Origin {
        Origin::Host(household(address))
    }
}

/// Connections by origin.
#[derive(Debug)]
pub struct Guests {
    most: usize,
    here: Mutex<HashMap<Origin, usize>>,
}

/// One connection, as long as it lives.
#[derive(Debug)]
pub struct Guest {
    guests: Arc<Guests>,
    origin: Origin,
}

impl Guests {
    /// At most `most` of one origin.
    #[must_use]
    pub fn new(most: usize) -> Arc<Guests> {
        Arc::new(Guests { most, here: Mutex::default() })
    }

    /// Lets one in; `None` where there are enough of its origin.
    #[must_use]
    pub fn admit(self: &Arc<Guests>, origin: Origin) -> Option<Guest> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let count = here.entry(origin).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Guest { guests: Arc::clone(self), origin })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut here = self.guests.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = here.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.origin);
            }
        }
    }
}

/// What one host can choose its addresses from: of IPv6, 64 bits.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_from_one_address_and_others_all_the_same() {
        let guests = Guests::new(2);
        let admit = |text: &str| guests.admit(Origin::of(text.parse().unwrap()));
        let one = [admit("10.0.0.1"), admit("::ffff:10.0.0.1")];
        assert!(one.iter().all(Option::is_some) && admit("10.0.0.1").is_none());
        let other = [admit("2001:db8::1"), admit("2001:db8::2:0:0:1")];
        assert!(other.iter().all(Option::is_some) && admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
        let users = [guests.admit(Origin::User(0)), guests.admit(Origin::User(0))];
        assert!(users.iter().all(Option::is_some) && guests.admit(Origin::User(0)).is_none());
        drop((one, users));
        assert!(admit("10.0.0.1").is_some());
        drop(other);
        assert!(guests.here.lock().unwrap().is_empty());
    }
}
