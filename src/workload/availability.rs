//! How many pods a rolling update leaves available, with the arithmetic of
//! the Deployment controller (kubernetes,
//! pkg/controller/deployment/util/deployment_util.go).

use super::Workload;
use super::object::IntOrString;

/// A count of pods, or a percentage of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many pods.
    Count(i32),
    /// So many percent of the replicas. A larger number means the same as the largest:
    /// no rollout has use for that many pods.
    Percent(i32),
}

impl Amount {
    /// The meaning of a `maxUnavailable` or `maxSurge`; `None` where the API
    /// server rejects the value.
    pub fn parse(value: IntOrString) -> Option<Self> {
        match value {
            IntOrString::Int(count) => (count >= 0).then_some(Amount::Count(count)),
            IntOrString::String(text) => {
                let digits = text.strip_suffix('%')?;
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                // Digits have no other error than too many of them, and the API server
                // takes any number of them (apimachinery, pkg/util/validation,
                // IsValidPercent).
                is_number.then(|| Amount::Percent(digits.parse().unwrap_or(i32::MAX)))
            }
        }
    }

    /// Whether this is `0` or `0%`. The API server rejects a strategy in which
    /// both amounts are.
    pub fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }

    fn of(self, replicas: i32, round: fn(f64) -> f64) -> i64 {
        match self {
            Amount::Count(count) => i64::from(count),
            // As intstr.GetScaledValueFromIntOrPercent computes it.
            Amount::Percent(percent) => round(f64::from(percent) * f64::from(replicas) / 100.0) as i64,
        }
    }
}

/// The limits of one rolling update, in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenceposts {
    /// How many pods there may be above `replicas`.
    pub surge: i64,
    /// How many of the `replicas` may be unavailable.
    pub unavailable: i64,
    /// How many stay available.
    pub available: i64,
}

impl Fenceposts {
    /// Surge is rounded up and unavailable down; if both come to 0,
    /// unavailable becomes 1, so that the rollout can move at all; never more
    /// than `replicas` are unavailable.
    pub fn resolve(replicas: i32, max_unavailable: Amount, max_surge: Amount) -> Self {
        let surge = max_surge.of(replicas, f64::ceil);
        let mut unavailable = max_unavailable.of(replicas, f64::floor);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let replicas = i64::from(replicas);
        let unavailable = unavailable.min(replicas);
        Fenceposts { surge, unavailable, available: replicas - unavailable }
    }
}

impl Workload<'_> {
    /// The limits of this workload's rolling updates. `None` if its strategy
    /// is another one, or its amounts are invalid.
    pub fn fenceposts(&self) -> Option<Fenceposts> {
        if !self.rolls() {
            return None;
        }
        let max_unavailable = Amount::parse(self.max_unavailable())?;
        let max_surge = Amount::parse(self.max_surge())?;
        Some(Fenceposts::resolve(self.replicas(), max_unavailable, max_surge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IntOrString::{Int, String as Text};

    #[test]
    fn amounts_are_what_the_api_server_accepts() {
        assert_eq!(Amount::parse(Int(2)), Some(Amount::Count(2)));
        assert_eq!(Amount::parse(Text("25%")), Some(Amount::Percent(25)));
        assert_eq!(Amount::parse(Text("2147483646%")), Some(Amount::Percent(i32::MAX - 1)));
        for huge in ["2147483648%", "4294967296%", "18446744073709551616%", &format!("{}%", "9".repeat(400))]
        {
            assert_eq!(Amount::parse(Text(huge)), Some(Amount::Percent(i32::MAX)), "{huge}");
        }
        for rejected in
            [Int(-1), Text("abc"), Text("25"), Text("%"), Text("-5%"), Text("+5%"), Text("1.5%"), Text("")]
        {
            assert_eq!(Amount::parse(rejected), None, "{rejected:?}");
        }
    }

    /// Values of ResolveFenceposts, MaxUnavailable and MinAvailable in the
    /// controller's own code and tests.
    #[test]
    fn fenceposts_are_those_of_the_deployment_controller() {
        #[rustfmt::skip]
        let table = [
            // replicas, maxUnavailable, maxSurge -> surge, unavailable, available
            (1, Text("25%"), Text("25%"), 1, 0, 1),
            (1, Int(1), Int(1), 1, 1, 0),
            (1, Int(1), Int(0), 0, 1, 0),
            (1, Text("25%"), Int(0), 0, 1, 0),
            (1, Int(0), Int(1), 1, 0, 1),
            (2, Text("25%"), Text("25%"), 1, 0, 2),
            (3, Text("25%"), Text("25%"), 1, 0, 3),
            (3, Text("25%"), Int(0), 0, 1, 2),
            (3, Text("25%"), Text("0%"), 0, 1, 2),
            (4, Text("25%"), Text("25%"), 1, 1, 3),
            (2, Text("50%"), Text("50%"), 1, 1, 1),
            (5, Text("50%"), Text("50%"), 3, 2, 3),
            (10, Text("25%"), Text("25%"), 3, 2, 8),
            (10, Text("100%"), Int(1), 1, 10, 0),
            (3, Int(5), Int(1), 1, 3, 0),
            (2, Int(0), Text("100%"), 2, 0, 2),
            (7, Text("99%"), Text("1%"), 1, 6, 1),
            (100, Text("1%"), Text("0%"), 0, 1, 99),
            (3, Int(0), Text("150%"), 5, 0, 3),
            (2, Int(0), Text("4294967296%"), 42_949_673, 0, 2),
            (i32::MAX, Text("4294967296%"), Text("4294967296%"), 46_116_860_141_324_208, 2_147_483_647, 0),
            (0, Int(1), Int(1), 1, 0, 0),
            (0, Text("25%"), Text("25%"), 0, 0, 0),
        ];
        for (replicas, max_unavailable, max_surge, surge, unavailable, available) in table {
            let resolved = Fenceposts::resolve(
                replicas,
                Amount::parse(max_unavailable).unwrap(),
                Amount::parse(max_surge).unwrap(),
            );
            let expected = Fenceposts { surge, unavailable, available };
            assert_eq!(resolved, expected, "{replicas} replicas, {max_unavailable}/{max_surge}");
        }
    }
}
