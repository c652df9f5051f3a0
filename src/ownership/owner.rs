//! The table that says whose a field is.

/// Whose a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// gapless injected it, and may refresh, move or remove it.
    Gapless,
    /// The user wrote it, or took it over.
    User,
    /// Nobody wrote it; it may be filled.
    Nobody,
    /// gapless injected it, and the way in which the request was written dropped
    /// it: it is put back.
    Dropped,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// The value that the API server fills in where nothing is written.
    ApiDefault,
    /// Any other value.
    Present,
}

/// What the record that speaks for a field says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It has no entry.
    Nothing,
    /// Its entry holds the value that is there.
    Same,
    /// Its entry holds another value.
    Other,
}

/// What is known of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What is there.
    pub presence: Presence,
    /// What the record says.
    pub recorded: Recorded,
    /// Whether the stored object holds a value of gapless, which comes back if
    /// it was dropped: one in the template or a label, whose default is not
    /// waived.
    pub is_stored_as_ours: bool,
    /// Whether somebody provably wrote it.
    pub is_proven: bool,
    /// Whether a value of the API server's that nobody proves counts as unset.
    pub replaces_api_defaults: bool,
}

/// The table. Each row is a test below.
pub fn owner(evidence: Evidence) -> Owner {
    match (evidence.presence, evidence.recorded, evidence.is_proven) {
        (Presence::Absent, _, _) if evidence.is_stored_as_ours => Owner::Dropped,
        (Presence::Absent, _, _) => Owner::Nobody,
        // The grace period alone is both: the API server never leaves it absent.
        (Presence::ApiDefault, _, false) if evidence.is_stored_as_ours => Owner::Dropped,
        (_, Recorded::Same, false) => Owner::Gapless,
        (Presence::ApiDefault, _, false) if evidence.replaces_api_defaults => Owner::Nobody,
        _ => Owner::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Presence::{Absent, ApiDefault, Present};
    use Recorded::{Nothing, Other, Same};

    /// The rows of the table, as the page on ownership has them.
    #[test]
    fn whose_field_it_is() {
        #[rustfmt::skip]
        let table = [
            // presence, recorded, stored as ours, proven -> owner
            (Absent, Nothing, true, false, Owner::Dropped),
            (Absent, Nothing, true, true, Owner::Dropped),
            (ApiDefault, Other, true, false, Owner::Dropped),
            (ApiDefault, Nothing, true, false, Owner::Dropped),
            (Absent, Nothing, false, false, Owner::Nobody),
            (Absent, Nothing, false, true, Owner::Nobody),
            (Present, Same, true, false, Owner::Gapless),
            (Present, Same, false, false, Owner::Gapless),
            (ApiDefault, Same, false, false, Owner::Gapless),
            (Present, Same, true, true, Owner::User),
            (Present, Other, true, false, Owner::User),
            (Present, Other, true, true, Owner::User),
            (Present, Nothing, true, false, Owner::User),
            (Present, Nothing, false, false, Owner::User),
            (Present, Nothing, false, true, Owner::User),
            (ApiDefault, Nothing, false, false, Owner::Nobody),
            (ApiDefault, Other, false, false, Owner::Nobody),
            (ApiDefault, Nothing, false, true, Owner::User),
            (ApiDefault, Other, true, true, Owner::User),
        ];
        for (presence, recorded, is_stored_as_ours, is_proven, expected) in table {
            let evidence =
                Evidence { presence, recorded, is_stored_as_ours, is_proven, replaces_api_defaults: true };
            assert_eq!(owner(evidence), expected, "{evidence:?}");
        }
    }

    #[test]
    fn the_api_servers_default_is_the_users_where_it_may_not_be_replaced() {
        let evidence = |is_stored_as_ours| Evidence {
            presence: ApiDefault,
            recorded: Nothing,
            is_stored_as_ours,
            is_proven: false,
            replaces_api_defaults: false,
        };
        assert_eq!(owner(evidence(false)), Owner::User);
        assert_eq!(owner(evidence(true)), Owner::Dropped, "no rollout comes of a PUT");
    }
}
