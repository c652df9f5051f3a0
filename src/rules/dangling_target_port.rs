//! The rule `dangling-target-port`.

use super::{Check, Needs, Rule};
use crate::field::FieldPath;
use crate::finding::{Action, Finding};
use crate::kubernetes::kind::Kind;
use crate::printable::printable;
use crate::settings::Settings;
use crate::workload::Workload;

/// The record of this rule.
pub const RULE: Rule = Rule {
    id: "dangling-target-port",
    summary: "a Service sends requests to a port by a name that no container has",
    page: include_str!("dangling_target_port.md"),
    kinds: &Kind::ALL,
    production: Action::Warn,
    development: Action::Warn,
    judges_scaled_to_zero: false,
    loses_requests: false,
    needs: Needs::Surroundings,
    check: Check::Workload(check),
    cel: None,
};

fn check(workload: &Workload, _: &Settings) -> Vec<Finding> {
    let names: Vec<&str> = workload
        .long_running()
        .flat_map(|container| container.tcp_ports())
        .filter_map(|port| port.name)
        .collect();
    let finding = |(service, target): (&str, &str)| {
        let message = format!(
            "Service {} sends requests to the port {target:?}, which no container has: it sends this pod none",
            printable(service),
        );
        let fix = match names[..] {
            [] => format!("give the port that is meant the name {target:?}"),
            // A probe may go by the old name.
            _ => format!(
                "set the Service's targetPort: {}, or rename the port to {target:?}, in its probes too",
                names.join(" or ")
            ),
        };
        Finding::not_found(RULE.id, FieldPath::new("spec.template.spec.containers"), message, fix)
    };
    let mut findings: Vec<Finding> = workload.dangling_targets().map(finding).collect();
    // One field, several Services: told in one finding each, in their order.
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found_in, web};
    use crate::surroundings::{Service, ServicePort, Surroundings, Target};

    fn targeting(target: Target) -> Surroundings {
        let ports = vec![ServicePort { name: String::new(), target }];
        Surroundings { services: vec![Service { name: "web".into(), ports }], ..Surroundings::default() }
    }

    #[test]
    fn only_a_name_that_nobody_has_dangles() {
        let count = |target: Target| found_in(&RULE, &web(), &targeting(target)).len();
        assert_eq!(count(Target::Name("web".into())), 1);
        assert_eq!(count(Target::Name("http".into())), 0);
        assert_eq!(count(Target::Number(9999)), 0, "containerPort is only information");
    }

    #[test]
    fn of_copies_the_one_that_fits_is_meant() {
        let mut around = targeting(Target::Name("web".into()));
        around.services.extend(targeting(Target::Name("http".into())).services);
        assert!(found_in(&RULE, &web(), &around).is_empty());
        around.services[1].name = "other".into();
        assert_eq!(found_in(&RULE, &web(), &around).len(), 1);
    }

    #[test]
    fn says_what_there_is() {
        let finding = found_in(&RULE, &web(), &targeting(Target::Name("web".into()))).remove(0);
        assert!(finding.fix.starts_with("set the Service's targetPort: http, or "), "{finding:?}");
    }
}
