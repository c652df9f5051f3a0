//! Which values render, what comes of them, and which are refused.

use std::path::Path;
use std::time::Duration;

use gapless::admission;
use gapless::kubernetes::kind::Kind;
use gapless::policy::Profile;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::rendered::{INSIDE, OUTSIDE, Rendered, SERVICES};
use super::with_chart;
use crate::support::fixtures::repository_file;
use crate::support::{self, Gapless};

/// A release that renders.
struct Case {
    release: &'static str,
    namespace: &'static str,
    /// YAML.
    values: &'static str,
    /// The rules that find something in its Deployment.
    findings: &'static [&'static str],
    /// What must hold of its objects.
    holds: fn(&Rendered),
}

const CHANGES_SOMETHING: &str = "request.operation != 'UPDATE' || object.spec != oldObject.spec || \
    object.metadata.?labels.orValue({}) != oldObject.metadata.?labels.orValue({}) || \
    object.metadata.?annotations.orValue({}) != oldObject.metadata.?annotations.orValue({}) || \
    object.metadata.?ownerReferences.orValue([]) != oldObject.metadata.?ownerReferences.orValue([])";

/// The namespace of a release that is only rendered.
const NAMESPACE: &str = "platform";

const CASE: Case =
    Case { release: "gapless", namespace: NAMESPACE, values: "", findings: &[], holds: |_| {} };

const RENDERED: &[Case] = &[
    Case {
        values: "{backstop: {enabled: true}, config: {profiles: {payments: {extends: production}}}}",
        holds: |chart| {
            for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
                let names: Vec<_> = chart.all(kind).iter().map(|it| it["metadata"]["name"].clone()).collect();
                assert_eq!(names, ["payments.gapless.platform", "production.gapless.platform"], "{kind}");
            }
        },
        ..CASE
    },
    Case {
        values: "{backstop: {enabled: true}, webhooks: {url: 'https://gapless.example.com'}}",
        holds: |chart| {
            let policies = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
            let mut expected = [&OUTSIDE[..], &policies].concat();
            expected.sort_unstable();
            assert_eq!(chart.kinds(), expected);
        },
        ..CASE
    },
    Case {
        holds: |chart| {
            assert_eq!(chart.kinds(), INSIDE);
            assert_eq!(chart.profiles(), ["advisory", "development", "production"]);
            assert_eq!(
                chart.entry("production.mutate.gapless.dev"),
                &json!({
                    "name": "production.mutate.gapless.dev",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "matchPolicy": "Equivalent",
                    "failurePolicy": "Ignore",
                    "timeoutSeconds": 3,
                    "reinvocationPolicy": "IfNeeded",
                    "clientConfig": {"service": {
                        "name": "gapless", "namespace": "platform", "path": "/mutate/production", "port": 443,
                    }},
                    "namespaceSelector": {"matchExpressions": [
                        {
                            "key": "gapless.dev/profile",
                            "operator": "NotIn",
                            "values": ["advisory", "development", "off"],
                        },
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["kube-node-lease", "kube-public", "kube-system", "platform"],
                        },
                    ]},
                    "rules": [{
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "resources": ["deployments"],
                        "operations": ["CREATE", "UPDATE"],
                        "scope": "Namespaced",
                    }],
                    "matchConditions": [
                        {
                            "name": "not-being-deleted",
                            "expression": "!has(object.metadata.deletionTimestamp)",
                        },
                        {"name": "changes-something", "expression": CHANGES_SOMETHING},
                    ],
                })
            );
            let validating = chart.entry("advisory.validate.gapless.dev");
            assert_eq!(validating["reinvocationPolicy"], Value::Null);
            assert_eq!(validating["clientConfig"]["service"]["path"], "/validate/advisory");
            assert_eq!(chart.one("Deployment")["spec"]["replicas"], 2);
            let ports = &chart.one("Service")["spec"]["ports"];
            assert_eq!((&ports[0]["port"], &ports[0]["targetPort"]), (&json!(443), &json!("webhooks")));
            assert_eq!(chart.container()["image"], format!("gapless:{}", env!("CARGO_PKG_VERSION")));
            assert_eq!(chart.default_profile().as_deref(), Some("production"));
        },
        ..CASE
    },
    // Outside the cluster, behind a path, with a certificate that everybody trusts.
    Case {
        values: "webhooks: {url: https://gapless.example.com/a//}",
        holds: |chart| {
            assert_eq!(chart.kinds(), OUTSIDE);
            let url = json!({"url": "https://gapless.example.com/a/validate/production"});
            assert_eq!(chart.entry("production.validate.gapless.dev")["clientConfig"], url);
        },
        ..CASE
    },
    Case {
        values: "config: {workloads: [Rollout, DaemonSet, StatefulSet]}",
        holds: |chart| {
            let rule = |group: &str, version: &str, resources: &[&str]| {
                json!({
                    "apiGroups": [group], "apiVersions": [version], "resources": resources,
                    "operations": ["CREATE", "UPDATE"], "scope": "Namespaced",
                })
            };
            for entry in ["production.mutate.gapless.dev", "advisory.validate.gapless.dev"] {
                assert_eq!(
                    chart.entry(entry)["rules"],
                    json!([
                        rule("apps", "v1", &["statefulsets", "daemonsets"]),
                        rule("argoproj.io", "v1alpha1", &["rollouts"]),
                    ])
                );
            }
        },
        ..CASE
    },
    Case {
        values: "config: {defaultProfile: development}",
        holds: |chart| {
            assert_eq!(chart.answers_for("development"), ("NotIn", vec!["advisory", "off", "production"]));
            assert_eq!(chart.answers_for("production"), ("In", vec!["production"]));
            assert_eq!(chart.default_profile().as_deref(), Some("development"));
        },
        ..CASE
    },
    // A bare `off` is the boolean false to Helm.
    Case {
        values: "config: {defaultProfile: off}",
        holds: |chart| {
            assert_eq!(chart.profiles(), ["advisory", "development", "production"]);
            for profile in chart.profiles() {
                assert_eq!(chart.answers_for(profile), ("In", vec![profile]));
            }
            assert_eq!(chart.default_profile(), None);
        },
        ..CASE
    },
    // Names at the limits, a large number, and a profile that only adjusts a built-in one.
    Case {
        values: r#"
            config:
              profiles:
                payments:
                  extends: production
                  rules: {single-replica: Deny, shell-sleep: Off}
                  defaults: {rolling-update: {maxSurge: 10000000}}
                "123": {extends: payments}
                a-name-of-63-characters-is-the-longest-that-a-label-can-have-ok: {extends: advisory}
                production: {mode: off}
        "#,
        holds: |chart| {
            let longest = "a-name-of-63-characters-is-the-longest-that-a-label-can-have-ok";
            let profiles = ["123", longest, "advisory", "development", "payments", "production"];
            assert_eq!(chart.profiles(), profiles);
            assert_eq!(chart.answers_for("payments"), ("In", vec!["payments"]));
            let others = vec!["123", longest, "advisory", "development", "off", "payments"];
            assert_eq!(chart.answers_for("production"), ("NotIn", others));
            let profiles = &chart.configuration()["profiles"];
            assert_eq!(
                profiles["payments"]["rules"],
                json!({"single-replica": "Deny", "shell-sleep": "Off"})
            );
            assert_eq!(profiles["payments"]["defaults"]["rolling-update"]["maxSurge"], 10_000_000);
            assert_eq!(profiles["production"]["mode"], "Off");
            assert_eq!(chart.default_profile().as_deref(), Some("production"));
        },
        ..CASE
    },
    Case {
        values: "
            webhooks:
              failurePolicy: Fail
              timeoutSeconds: 10
              mutating: {failurePolicy: Ignore, timeoutSeconds: 2}
              validating: {timeoutSeconds: 30}
        ",
        holds: |chart| {
            for profile in chart.profiles() {
                let mutating = chart.entry(&format!("{profile}.mutate.gapless.dev"));
                assert_eq!(
                    (&mutating["failurePolicy"], &mutating["timeoutSeconds"]),
                    (&json!("Ignore"), &json!(2))
                );
                let validating = chart.entry(&format!("{profile}.validate.gapless.dev"));
                assert_eq!(
                    (&validating["failurePolicy"], &validating["timeoutSeconds"]),
                    (&json!("Fail"), &json!(30))
                );
            }
        },
        ..CASE
    },
    Case {
        values: "webhooks: {excludedNamespaces: [zoo, apple, platform, apple]}",
        holds: |chart| assert_eq!(chart.excluded(), ["apple", "platform", "zoo"]),
        ..CASE
    },
    Case {
        values: "webhooks: {excludedNamespaces: []}",
        holds: |chart| assert_eq!(chart.excluded(), ["platform"]),
        ..CASE
    },
    Case {
        values: "{replicaCount: 1, podDisruptionBudget: {enabled: false}}",
        findings: &["single-replica"],
        holds: |chart| {
            assert_eq!(chart.one("Deployment")["spec"]["replicas"], 1);
            assert!(!chart.kinds().contains(&"PodDisruptionBudget"));
        },
        ..CASE
    },
    Case {
        values: r#"
            image:
              repository: registry.example.com:5000/team/gapless
              tag: "1.10"
              digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
              pullPolicy: Always
            imagePullSecrets: [{name: pull}]
        "#,
        holds: |chart| {
            let digest = "a".repeat(64);
            let image = format!("registry.example.com:5000/team/gapless:1.10@sha256:{digest}");
            assert_eq!(chart.container()["image"], image);
            assert_eq!(chart.container()["imagePullPolicy"], "Always");
            assert_eq!(chart.pod()["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
            assert_eq!(chart.pod()["metadata"]["labels"]["version"], "1.10");
        },
        ..CASE
    },
    // A tag that is no legal label value as it stands.
    Case {
        values: "image: {tag: _1.2.3-0123456789-0123456789-0123456789-0123456789-0123456789-1-more}",
        holds: |chart| {
            let version = "1.2.3-0123456789-0123456789-0123456789-0123456789-0123456789-1";
            assert_eq!(chart.pod()["metadata"]["labels"]["version"], version);
        },
        ..CASE
    },
    // Everything that there is to set, at once.
    Case {
        values: r#"
            replicaCount: 5
            image:
              repository: registry.example.com/team/gapless
              tag: "1.2.3"
              digest: sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
              pullPolicy: Never
            imagePullSecrets: [{name: pull}, {name: mirror}]
            config:
              defaultProfile: payments
              workloads: [Deployment]
              exemptions: {usernames: [admin], groups: ["system:masters"], namespaces: [legacy]}
              profiles:
                payments:
                  extends: production
                  mode: Enforce
                  rules: {single-replica: Deny}
                  settings: {max-capacity-loss: 25%, min-drain-seconds: 5, mutable-tags: [latest]}
                  defaults:
                    readiness-probe: {enabled: true, periodSeconds: 5, failureThreshold: 3}
                    pre-stop-sleep: {enabled: true, seconds: 10, raiseGracePeriod: true}
                    rolling-update: {enabled: true, maxUnavailable: 0, maxSurge: 25%, minReadySeconds: 10}
                    version-label: {enabled: true, keys: [version]}
                  waivers: Forbidden
                batch: {extends: development, mode: Warn}
                batch-at-night: {extends: batch, mode: Audit}
            webhooks:
              failurePolicy: Fail
              timeoutSeconds: 30
              mutating: {failurePolicy: Ignore, timeoutSeconds: 1}
              validating: {failurePolicy: Fail, timeoutSeconds: 10}
              excludedNamespaces: [kube-system, flux-system]
            certificates: {mode: selfManaged, secretName: tls}
            podDisruptionBudget: {enabled: true}
            resources:
              requests: {cpu: 100m, memory: 64Mi, ephemeral-storage: 1Mi}
              limits: {cpu: "1", memory: 256Mi}
            nodeSelector: {kubernetes.io/os: linux, disk: fast}
            tolerations: [{key: role, operator: Equal, value: system, effect: NoExecute, tolerationSeconds: 60}]
            affinity:
              nodeAffinity:
                requiredDuringSchedulingIgnoredDuringExecution:
                  nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: In, values: [fast]}]}]
              podAntiAffinity:
                preferredDuringSchedulingIgnoredDuringExecution:
                  - weight: 100
                    podAffinityTerm:
                      topologyKey: kubernetes.io/hostname
                      labelSelector: {matchLabels: {app.kubernetes.io/name: gapless}}
            priorityClassName: system-cluster-critical
            podAnnotations: {example.com/note: hello, example.com/number: "1"}
            podLabels: {team: platform}
        "#,
        holds: |chart| {
            assert_eq!(chart.kinds(), INSIDE);
            assert_eq!(chart.one("Deployment")["spec"]["replicas"], 5);
            let profiles = ["advisory", "batch", "batch-at-night", "development", "payments", "production"];
            assert_eq!(chart.profiles(), profiles);
            assert_eq!(chart.answers_for("payments").0, "NotIn");
            assert_eq!(chart.answers_for("production"), ("In", vec!["production"]));
            assert_eq!(chart.default_profile().as_deref(), Some("payments"));
        },
        ..CASE
    },
    // What users set for their cluster; the labels that select the pods stay the chart's own.
    Case {
        values: "
            nodeSelector: {disk: fast}
            tolerations: [{operator: Exists}]
            affinity:
              nodeAffinity:
                preferredDuringSchedulingIgnoredDuringExecution:
                  - {weight: 1, preference: {matchExpressions: [{key: disk, operator: Exists}]}}
            priorityClassName: system-cluster-critical
            podAnnotations: {example.com/note: hello}
            podLabels: {team: platform, version: other, app.kubernetes.io/name: other}
            resources: {}
            certificates: {mode: existingSecret, secretName: tls.example.com}
            global: {unused: 1}
        ",
        holds: |chart| {
            let pod = chart.pod();
            let selected = &chart.one("Deployment")["spec"]["selector"]["matchLabels"];
            for (key, value) in selected.as_object().unwrap() {
                assert_eq!(&pod["metadata"]["labels"][key], value);
            }
            assert_eq!(pod["metadata"]["labels"]["team"], "platform");
            assert_eq!(pod["metadata"]["annotations"]["example.com/note"], "hello");
            assert_eq!(pod["spec"]["nodeSelector"]["disk"], "fast");
            assert_eq!(pod["spec"]["tolerations"], json!([{"operator": "Exists"}]));
            assert_eq!(pod["spec"]["priorityClassName"], "system-cluster-critical");
            assert_eq!(pod["spec"]["volumes"][1]["secret"]["secretName"], "tls.example.com");
        },
        ..CASE
    },
    // A certificate that somebody else keeps: no permission, no token.
    Case {
        values: "{certificates: {mode: existingSecret}, clusterContext: {enabled: false}}",
        holds: |chart| {
            let without_rbac: Vec<_> = INSIDE.into_iter().filter(|kind| !kind.contains("Role")).collect();
            assert_eq!(chart.kinds(), without_rbac);
            assert_eq!(chart.pod()["spec"]["automountServiceAccountToken"], false);
            assert_eq!(chart.one("ServiceAccount")["automountServiceAccountToken"], false);
            assert_eq!(chart.pod()["spec"]["volumes"][1]["secret"]["secretName"], "gapless-tls");
            assert!(!chart.arguments().contains(&"--self-managed-certificates"));
        },
        ..CASE
    },
    // What stands around workloads: to be read, with a token, and nothing else.
    Case {
        values: "{certificates: {mode: existingSecret}, networkPolicy: {enabled: true}}",
        holds: |chart| {
            assert!(chart.arguments().contains(&"--cluster-context"));
            assert_eq!(chart.pod()["spec"]["automountServiceAccountToken"], true);
            assert_ne!(chart.one("NetworkPolicy")["spec"]["egress"], json!([]));
            assert!(chart.all("Role").is_empty());
            let rules = chart.one("ClusterRole")["rules"].as_array().unwrap();
            assert!(rules.iter().all(|rule| rule["verbs"] == json!(["list", "watch"])), "{rules:#?}");
            let groups: Vec<_> = rules.iter().map(|rule| rule["apiGroups"][0].as_str().unwrap()).collect();
            assert_eq!(groups, ["", "apps", "argoproj.io", "autoscaling", "policy"]);
        },
        ..CASE
    },
    // A change of the selector of a Service: asked about as each profile's workloads are, and
    // never in the way.
    Case {
        values: "
            clusterContext: {enabled: true}
            webhooks: {failurePolicy: Fail, validating: {failurePolicy: Fail, timeoutSeconds: 5}}
            config: {defaultProfile: payments, profiles: {payments: {extends: production}}}
        ",
        holds: |chart| {
            let profiles = ["advisory", "development", "payments", "production"];
            assert_eq!(chart.profiles(), profiles);
            let about_services: Vec<_> =
                chart.entries().filter(|entry| entry["name"].as_str().unwrap().ends_with(SERVICES)).collect();
            assert_eq!(about_services.len(), profiles.len());
            for (entry, profile) in about_services.into_iter().zip(profiles) {
                let mut expected = chart.entry(&format!("{profile}.validate.gapless.dev")).clone();
                expected["name"] = json!(format!("{profile}{SERVICES}"));
                expected["failurePolicy"] = json!("Ignore");
                expected["rules"] = json!([{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"],
                    "operations": ["UPDATE"], "scope": "Namespaced",
                }]);
                let selector = json!({
                    "name": "selector-changes",
                    "expression": "has(object.spec.selector) && \
                        (!has(oldObject.spec.selector) || object.spec.selector != oldObject.spec.selector)",
                });
                let conditions = expected["matchConditions"].as_array_mut().unwrap();
                conditions.pop();
                conditions.push(selector);
                assert_eq!(*entry, expected);
            }
        },
        ..CASE
    },
    Case {
        values: "clusterContext: {enabled: false}",
        holds: |chart| assert_eq!(chart.entries().count(), 2 * chart.profiles().len()),
        ..CASE
    },
    // Certificates that cert-manager keeps, with a CA for gapless alone.
    Case {
        values: "{certificates: {mode: certManager, secretName: serving}, clusterContext: {enabled: false}}",
        holds: |chart| {
            let certificates = chart.all("Certificate");
            let names = |objects: &[&Value]| -> Vec<Value> {
                objects.iter().map(|object| object["metadata"]["name"].clone()).collect()
            };
            assert_eq!(names(&certificates), ["gapless-ca", "gapless"]);
            assert_eq!(names(&chart.all("Issuer")), ["gapless-self-signed", "gapless-ca"]);
            let [ca, serving] = certificates[..] else { panic!("{certificates:#?}") };
            assert_eq!(ca["spec"]["isCA"], true);
            assert_eq!(chart.all("Issuer")[1]["spec"]["ca"]["secretName"], ca["spec"]["secretName"]);
            // Of another key, the CA would have to be in the bundle beside the old one.
            assert_eq!(ca["spec"]["privateKey"]["rotationPolicy"], "Never");
            assert_eq!(serving["spec"]["dnsNames"], json!(["gapless.platform.svc"]));
            let issuer = json!({"name": "gapless-ca", "kind": "Issuer", "group": "cert-manager.io"});
            assert_eq!(serving["spec"]["issuerRef"], issuer);
            let volume = &chart.pod()["spec"]["volumes"][1]["secret"]["secretName"];
            assert_eq!((&serving["spec"]["secretName"], volume), (&json!("serving"), &json!("serving")));
            for kind in OUTSIDE {
                let source = &chart.one(kind)["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
                assert_eq!(source, "platform/gapless");
            }
            assert!(chart.all("Role").is_empty(), "gapless itself changes nothing");
            assert_eq!(chart.pod()["spec"]["automountServiceAccountToken"], false);
        },
        ..CASE
    },
    // By an issuer that is there.
    Case {
        values: "certificates: {mode: certManager, certManager: {issuerRef: {name: house, kind: ClusterIssuer}}}",
        holds: |chart| {
            assert!(chart.all("Issuer").is_empty());
            let issuer = json!({"name": "house", "kind": "ClusterIssuer", "group": "cert-manager.io"});
            assert_eq!(chart.one("Certificate")["spec"]["issuerRef"], issuer);
        },
        ..CASE
    },
    // Certificates that gapless keeps, under whatever names.
    Case {
        release: "a.b",
        values: "{certificates: {secretName: tls.example.com}, clusterContext: {enabled: false}}",
        holds: |chart| {
            let name = "a-b-gapless.platform";
            let rules = |kind: &str| chart.one(kind)["rules"].clone();
            assert_eq!(
                rules("Role"),
                json!([
                    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls.example.com"],
                     "verbs": ["get", "update"]},
                    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
                ])
            );
            assert_eq!(
                rules("ClusterRole"),
                json!([{
                    "apiGroups": ["admissionregistration.k8s.io"],
                    "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                    "resourceNames": [name],
                    "verbs": ["get", "patch"],
                }])
            );
            for kind in OUTSIDE {
                assert_eq!(chart.one(kind)["metadata"]["name"], name);
            }
            let account = json!([{"kind": "ServiceAccount", "name": "a-b-gapless", "namespace": "platform"}]);
            for (binding, kind, role) in
                [("RoleBinding", "Role", "a-b-gapless"), ("ClusterRoleBinding", "ClusterRole", name)]
            {
                assert_eq!(chart.one(binding)["subjects"], account);
                let group = "rbac.authorization.k8s.io";
                assert_eq!(
                    chart.one(binding)["roleRef"],
                    json!({"apiGroup": group, "kind": kind, "name": role})
                );
                assert_eq!(chart.one(kind)["metadata"]["name"], role);
            }
            let pod = &chart.pod()["spec"];
            assert_eq!(pod["serviceAccountName"], "a-b-gapless");
            assert_eq!(pod["automountServiceAccountToken"], true);
            let volumes: Vec<_> = pod["volumes"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
            assert_eq!(volumes, ["config"]);
            assert!(!chart.kinds().contains(&"Secret"));
        },
        ..CASE
    },
    // Only clients that a CA vouches for.
    Case {
        values: r#"
            webhooks:
              clientCA: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
              clientNames: [kube-apiserver, front-proxy-client]
        "#,
        holds: |chart| {
            let ca = &chart.one("ConfigMap")["data"]["client-ca.crt"];
            assert_eq!(ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
            let arguments = chart.serve_arguments();
            assert_eq!(arguments.client_ca.as_deref(), Some(Path::new("/etc/gapless/client-ca.crt")));
            assert_eq!(arguments.client_name, ["kube-apiserver", "front-proxy-client"]);
        },
        ..CASE
    },
    // For control planes that reach pods on few ports only.
    Case {
        values: "{webhooks: {port: 10250}, metrics: {port: 9090}}",
        holds: |chart| {
            let arguments = chart.serve_arguments();
            assert_eq!((arguments.bind.port(), arguments.ops_bind.port()), (10250, 9090));
            let ports = &chart.container()["ports"];
            assert_eq!(
                (&ports[0]["containerPort"], &ports[1]["containerPort"]),
                (&json!(10250), &json!(9090))
            );
            let ports = &chart.one("Service")["spec"]["ports"];
            assert_eq!((&ports[0]["port"], &ports[0]["targetPort"]), (&json!(443), &json!("webhooks")));
        },
        ..CASE
    },
    // Only root may take them, unless the pod's network says otherwise.
    Case {
        values: "{webhooks: {port: 443}, metrics: {port: 1024}}",
        holds: |chart| {
            let sysctls = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]);
            assert_eq!(chart.pod()["spec"]["securityContext"]["sysctls"], sysctls);
            assert_eq!(chart.serve_arguments().bind.port(), 443);
        },
        ..CASE
    },
    Case {
        values: "{webhooks: {port: 1024}, metrics: {port: 1023}}",
        holds: |chart| assert!(chart.pod()["spec"]["securityContext"]["sysctls"].is_array()),
        ..CASE
    },
    Case {
        values: "{webhooks: {port: 1024}, metrics: {port: 1025}}",
        holds: |chart| assert_eq!(chart.pod()["spec"]["securityContext"]["sysctls"], Value::Null),
        ..CASE
    },
    // For control planes that do not reach pods at all. A further node may not be there,
    // so one pod goes before another one comes, which is a third of them.
    Case {
        values: "{hostNetwork: true, replicaCount: 3}",
        findings: &["rollout-capacity-loss"],
        holds: |chart| {
            assert_eq!(chart.pod()["spec"]["hostNetwork"], true);
            assert_eq!(chart.pod()["spec"]["dnsPolicy"], "ClusterFirstWithHostNet");
            let rolling = &chart.one("Deployment")["spec"]["strategy"]["rollingUpdate"];
            assert_eq!(rolling, &json!({"maxUnavailable": 1, "maxSurge": 0}));
        },
        ..CASE
    },
    // Even one pod alone: a gap is better than an upgrade that never ends.
    Case {
        values: "{hostNetwork: true, replicaCount: 1}",
        findings: &["single-replica", "rollout-outage"],
        holds: |chart| {
            let rolling = &chart.one("Deployment")["spec"]["strategy"]["rollingUpdate"];
            assert_eq!(rolling, &json!({"maxUnavailable": 1, "maxSurge": 0}));
        },
        ..CASE
    },
    Case {
        values: "networkPolicy: {enabled: true}",
        holds: |chart| {
            let spec = &chart.one("NetworkPolicy")["spec"];
            assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
            assert_eq!(
                spec["ingress"],
                json!([
                    {"ports": [{"port": "webhooks", "protocol": "TCP"}]},
                    {"ports": [{"port": "ops", "protocol": "TCP"}]},
                ])
            );
            let ports = json!([{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]);
            assert_eq!(spec["egress"], json!([{"ports": ports}]));
            let selected = &chart.one("Deployment")["spec"]["selector"];
            assert_eq!(&spec["podSelector"], selected);
        },
        ..CASE
    },
    // Who keeps no certificates and follows nothing has nobody to talk to.
    Case {
        values: "
            certificates: {mode: existingSecret}
            clusterContext: {enabled: false}
            networkPolicy:
              enabled: true
              webhookFrom: [{ipBlock: {cidr: 10.0.0.0/28}}]
              metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
        ",
        holds: |chart| {
            let spec = &chart.one("NetworkPolicy")["spec"];
            let test =
                &chart.tests.iter().find(|object| object["kind"] == "Pod").unwrap()["metadata"]["labels"];
            let test = json!({"podSelector": {"matchLabels": test}});
            assert_eq!(spec["ingress"][0]["from"], json!([{"ipBlock": {"cidr": "10.0.0.0/28"}}, test]));
            let monitoring = json!({"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}});
            assert_eq!(spec["ingress"][1]["from"], json!([{"namespaceSelector": monitoring}]));
            assert_eq!(spec["egress"], json!([]));
        },
        ..CASE
    },
    Case {
        values: "
            networkPolicy:
              enabled: true
              apiServerTo: [{ipBlock: {cidr: 10.0.0.1/32}}]
              apiServerPorts: [8443]
        ",
        holds: |chart| {
            let to = json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]);
            let ports = json!([{"port": 8443, "protocol": "TCP"}]);
            assert_eq!(chart.one("NetworkPolicy")["spec"]["egress"], json!([{"ports": ports, "to": to}]));
        },
        ..CASE
    },
    // Reports: a CronJob with an account of its own, whose pods are none of the webhooks'.
    Case {
        values: "
            {reports: {enabled: true, schedule: '@daily'}, networkPolicy: {enabled: true}, podLabels: {team: a},
             podAnnotations: {example.com/note: hello}, imagePullSecrets: [{name: pull}],
             priorityClassName: system-cluster-critical, tolerations: [{operator: Exists}]}
        ",
        holds: |chart| {
            let job = &chart.one("CronJob")["spec"];
            assert_eq!((&job["schedule"], &job["concurrencyPolicy"]), (&json!("@daily"), &json!("Forbid")));
            let pod = &job["jobTemplate"]["spec"]["template"];
            let labels = &pod["metadata"]["labels"];
            assert_eq!(labels["team"], "a");
            assert_eq!(pod["metadata"]["annotations"]["example.com/note"], "hello");
            for field in ["imagePullSecrets", "priorityClassName", "tolerations", "nodeSelector"] {
                assert_eq!(pod["spec"][field], chart.pod()["spec"][field], "{field}");
            }
            let container = &pod["spec"]["containers"][0];
            for field in ["image", "imagePullPolicy", "resources", "securityContext"] {
                assert_eq!(container[field], chart.container()[field], "{field}");
            }
            assert_eq!(pod["spec"]["securityContext"], chart.pod()["spec"]["securityContext"]);
            assert_eq!(pod["spec"]["volumes"][0], chart.pod()["spec"]["volumes"][0]);
            let selector = &chart.one("Service")["spec"]["selector"];
            assert_ne!(labels["app.kubernetes.io/name"], selector["app.kubernetes.io/name"]);

            let policies = chart.all("NetworkPolicy");
            let [webhooks, reports] = policies[..] else { panic!("{policies:#?}") };
            for (key, value) in reports["spec"]["podSelector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(&labels[key], value);
            }
            assert_eq!(reports["spec"]["ingress"], json!([]));
            assert_eq!(reports["spec"]["egress"], webhooks["spec"]["egress"]);

            let accounts: Vec<_> =
                chart.all("ServiceAccount").iter().map(|it| it["metadata"]["name"].clone()).collect();
            assert_eq!(accounts, ["gapless-reports", "gapless"]);
            let [_, binding] = chart.all("ClusterRoleBinding")[..] else { panic!("two") };
            assert_eq!(binding["subjects"][0]["name"], pod["spec"]["serviceAccountName"]);
            let [_, role] = chart.all("ClusterRole")[..] else { panic!("two") };
            assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
            for rule in role["rules"].as_array().unwrap() {
                let writes = rule["apiGroups"] == json!(["openreports.io"]);
                let verbs = if writes { json!(["list", "create", "patch", "delete"]) } else { json!(["list"]) };
                assert_eq!(rule["verbs"], verbs);
            }
        },
        ..CASE
    },
    // In the cluster even if gapless itself is not, by the configuration that it is to have.
    Case {
        values: "{reports: {enabled: true}, webhooks: {url: https://gapless.example.com}}",
        holds: |chart| {
            let more = ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "CronJob"];
            assert_eq!(chart.kinds(), [&more[..], &OUTSIDE[..1], &["ServiceAccount"], &OUTSIDE[1..]].concat());
            let pod = &chart.one("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
            let config = &chart.one("ConfigMap")["metadata"]["name"];
            assert_eq!(&pod["volumes"][0]["configMap"]["name"], config);
            assert_eq!(chart.default_profile().as_deref(), Some("production"));
        },
        ..CASE
    },
    Case {
        release: "the-longest-name-of-a-release-that-helm-takes-has-53c",
        values: "reports: {enabled: true}",
        holds: |chart| {
            let name = chart.one("CronJob")["metadata"]["name"].as_str().unwrap();
            assert!(name.ends_with("-reports") && name.len() <= 52, "{name}");
        },
        ..CASE
    },
    // `null` takes a value of the chart away.
    Case {
        values: "
            {webhooks: {caBundle: null, url: null}, image: {tag: null, digest: null}, imagePullSecrets: null,
             podLabels: null, podAnnotations: null, tolerations: null, affinity: null, nodeSelector: null,
             resources: null, priorityClassName: null}
        ",
        holds: |chart| assert_eq!(chart.kinds(), INSIDE),
        ..CASE
    },
    // The name of a release is no name of a Service as it stands.
    Case { release: "1.2", holds: |chart| assert_eq!(chart.name(), "gapless-1-2"), ..CASE },
    Case {
        release: "123",
        namespace: "456",
        holds: |chart| {
            assert_eq!(chart.name(), "gapless-123");
            assert_eq!(chart.one("ValidatingWebhookConfiguration")["metadata"]["name"], "gapless-123.456");
        },
        ..CASE
    },
    Case {
        release: "the-longest-name-of-a-release-that-helm-takes-has-53c",
        namespace: "the-longest-name-of-a-namespace-that-there-can-be-has-63-letter",
        holds: |chart| assert!(chart.name().ends_with("-gapless")),
        ..CASE
    },
];

#[test]
fn renders_what_the_api_server_and_gapless_itself_accept() {
    let Some(cluster) = support::cluster() else { return };
    let crds = repository_file("tests/fixtures/crds");
    cluster.kubectl(["apply", "--server-side", "-f"]).args([&crds]).ok();
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "-f"]).args([&crds]).ok();
    for case in RENDERED {
        let arguments = ["template", case.release, "--namespace", case.namespace];
        let chart = Rendered::new(&with_chart(cluster.helm(arguments), case.values).ok());
        (case.holds)(&chart);

        for entry in chart.entries() {
            assert_eq!(entry["clientConfig"]["caBundle"], Value::Null, "there is none, and so no empty one");
            assert!(chart.excluded().contains(&case.namespace), "gapless would stand in its own way");
        }
        chart.is_accepted(cluster, case.namespace);
        if chart.kinds().contains(&"Deployment") {
            assert_eq!(findings(chart.one("Deployment")), case.findings, "{}", case.values);
        }
    }
}

/// The rules that find something in an object, in the strictest profile. There
/// is nothing to inject, and no waiver.
#[track_caller]
fn findings(deployment: &Value) -> Vec<&'static str> {
    let today = Date::constant(2026, 11, 23);
    let assessment = admission::assess(
        Kind::Deployment,
        deployment,
        &gapless::surroundings::NONE,
        &Profile::production(),
        today,
    )
    .unwrap();
    assert_eq!(assessment.skip, None);
    assert_eq!(assessment.injection.announcements, []);
    assert_eq!(assessment.injection.operations, []);
    assert!(assessment.problems.is_empty(), "{:?}", assessment.problems);
    assessment.judged.iter().map(|it| it.finding.rule).collect()
}

/// What the chart says about the program is what the program does.
#[test]
fn fits_the_program() {
    let Some(cluster) = support::cluster() else { return };
    let render = |values: &str| {
        let arguments = ["template", "gapless", "--namespace", NAMESPACE];
        Rendered::new(&with_chart(cluster.helm(arguments), values).ok())
    };
    let chart = render("");
    let (pod, container) = (&chart.pod()["spec"], chart.container());
    let arguments = chart.serve_arguments();
    let kept = &arguments.self_managed;
    assert!(kept.self_managed_certificates);
    assert_eq!(kept.certificate_secret.as_deref(), Some("gapless-tls"));
    assert_eq!(kept.certificate_secret_namespace, None, "that of the pod");
    assert_eq!(kept.certificate_host, [format!("{}.{NAMESPACE}.svc", chart.name()).parse().unwrap()]);
    for kind in OUTSIDE {
        let name = chart.one(kind)["metadata"]["name"].as_str();
        assert_eq!(kept.webhook_configurations.as_deref(), name);
    }
    let ports = [("webhooks", arguments.bind), ("ops", arguments.ops_bind)];
    for (port, (name, address)) in container["ports"].as_array().unwrap().iter().zip(ports) {
        assert_eq!((&port["name"], &port["containerPort"]), (&json!(name), &json!(address.port())));
    }
    let with_secret = render("certificates: {mode: existingSecret}");
    let mounts = with_secret.container()["volumeMounts"].as_array().unwrap();
    let read = with_secret.serve_arguments();
    for (mount, file) in mounts.iter().zip([&read.config, &read.tls_cert]) {
        assert_eq!(file.as_ref().unwrap().parent().unwrap(), Path::new(mount["mountPath"].as_str().unwrap()));
    }
    assert_eq!(arguments.config, read.config);
    assert_eq!(container["volumeMounts"].as_array().unwrap()[..], mounts[..1]);
    let sleep = Duration::from_secs(container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap());
    let leave = sleep + arguments.shutdown_delay + arguments.drain_limit;
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(leave < grace, "a pod may need {leave:?} to leave, and has {grace:?}");

    let gapless = Gapless::start(cluster, [""; 0]);
    for probe in ["readinessProbe", "livenessProbe"] {
        let request = &container[probe]["httpGet"];
        assert_eq!(request["port"], "ops");
        assert_eq!(gapless.ops_get(request["path"].as_str().unwrap()).0, 200);
    }

    // None of these has to replace the pods, which follow their configuration.
    let template = |values| render(values).pod().to_string();
    let default = chart.pod().to_string();
    assert_eq!(template("config: {defaultProfile: advisory}"), default);
    assert_eq!(template("{replicaCount: 3, webhooks: {failurePolicy: Fail, timeoutSeconds: 9}}"), default);
}

#[test]
fn helm_finds_nothing_to_criticise() {
    let Some(cluster) = support::cluster() else { return };
    for values in [
        "",
        "certificates: {mode: existingSecret}",
        "certificates: {mode: certManager}",
        "webhooks: {url: https://gapless.example.com}",
        "reports: {enabled: true}",
    ] {
        let lint = with_chart(cluster.helm(["lint", "--strict"]), values).ok();
        assert!(!lint.stdout.contains("[WARNING]") && !lint.stdout.contains("[ERROR]"), "{lint}");
    }
}

#[test]
fn needs_kubernetes_1_30() {
    let Some(cluster) = support::cluster() else { return };
    let render = |version: &str| {
        with_chart(cluster.helm(["template", "gapless", "--kube-version", version]), "").run()
    };
    let too_old = render("1.29.9");
    assert!(too_old.stderr.contains("chart requires kubeVersion: >=1.30.0-0"), "{too_old}");
    for version in ["1.30.0", "v1.30.4-gke.1036000", "1.37.2"] {
        let output = render(version);
        assert!(output.status.success(), "{output}");
    }
}

/// Values that cannot work, and what Helm says of them.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("replicas: 3", "additional properties 'replicas' not allowed"),
    ("replicaCount: 0", "at '/replicaCount': minimum: got 0, want 1"),
    ("image: {tag: 1.10}", "at '/image/tag': got number, want string"),
    ("image: {tag: 'a b'}", "at '/image/tag': 'a b' does not match"),
    ("image: {digest: 'sha256:abc'}", "at '/image/digest': 'sha256:abc' does not match"),
    ("image: {repository: 'team/gapless:1.2'}", "at '/image/repository': 'team/gapless:1.2' does not match"),
    ("image: {repository: ''}", "at '/image/repository': '' does not match"),
    ("image: {pullPolicy: always}", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("imagePullSecrets: [pull]", "at '/imagePullSecrets/0': got string, want object"),
    ("config: null", "missing property 'config'"),
    ("config: {defaultProfile: prodution}", r#"config.defaultProfile is "prodution": there is no such profile"#),
    ("config: {apiVersion: gapless.dev/v1}", "at '/config': additional properties 'apiVersion' not allowed"),
    ("config: {profiles: {Payments: {}}}", r#"config.profiles has a profile "Payments": a name is a DNS label"#),
    ("config: {profiles: {a.b: {}}}", r#"config.profiles has a profile "a.b": a name is a DNS label"#),
    ("config: {profiles: {a-name-of-64-characters-is-one-more-than-a-label-can-have-in-all: {}}}", "at most 63"),
    ("config: {profiles: {yes: {}}}", r#"config.profiles has a profile "true": that is what YAML makes of a bare word"#),
    ("config: {profiles: {payments: production}}", "at '/config/profiles/payments': got string, want object"),
    ("config: {workloads: Deployment}", "at '/config/workloads': got string, want"),
    ("webhooks: {failurepolicy: Fail}", "at '/webhooks': additional properties 'failurepolicy' not allowed"),
    ("webhooks: {failurePolicy: fail}", "at '/webhooks/failurePolicy': value must be one of 'Ignore', 'Fail'"),
    ("webhooks: {mutating: {failurePolicy: Never}}", "at '/webhooks/mutating/failurePolicy': value must be one of"),
    ("webhooks: {validating: {timeout: 3}}", "at '/webhooks/validating': additional properties 'timeout' not allowed"),
    ("webhooks: {timeoutSeconds: 0}", "at '/webhooks/timeoutSeconds': minimum: got 0, want 1"),
    ("webhooks: {validating: {timeoutSeconds: 31}}", "at '/webhooks/validating/timeoutSeconds': maximum: got 31, want 30"),
    ("webhooks: {timeoutSeconds: 3s}", "at '/webhooks/timeoutSeconds': got string, want integer"),
    ("webhooks: {excludedNamespaces: kube-system}", "at '/webhooks/excludedNamespaces': got string, want array"),
    ("webhooks: {excludedNamespaces: [Kube_System]}", "at '/webhooks/excludedNamespaces/0': 'Kube_System' does not match"),
    ("webhooks: {url: 'http://gapless.example.com'}", r#"webhooks.url is "http://gapless.example.com": write https://"#),
    ("webhooks: {url: 'gapless.example.com:9443'}", r#"webhooks.url is "gapless.example.com:9443": write https://"#),
    ("webhooks: {url: 'https://'}", r#"webhooks.url is "https://": write https://"#),
    ("webhooks: {url: 'https://me:secret@gapless.example.com'}", "without user, query and fragment"),
    ("webhooks: {url: 'https://gapless.example.com/?a=b'}", "without user, query and fragment"),
    ("webhooks: {caBundle: ca.crt}", "webhooks.caBundle holds no certificate: give PEM text"),
    ("webhooks: {caBundle: '-----BEGIN CERTIFICATE-----'}", "webhooks.caBundle is set, but with certificates.mode selfManaged gapless keeps"),
    ("certificates: {mode: certManager}\nwebhooks: {caBundle: '-----BEGIN CERTIFICATE-----'}", "the CA injector of cert-manager keeps the caBundle"),
    ("certificates: {certManager: {issuerRef: {kind: ClusterIssuer}}}", "at '/certificates/certManager/issuerRef'"),
    ("certificates: {certManager: {issuer: house}}", "at '/certificates/certManager': additional properties 'issuer' not allowed"),
    ("certificates: {mode: selfSigned}", "at '/certificates/mode': value must be"),
    ("certificates: {secretName: Gapless_TLS}", "at '/certificates/secretName': 'Gapless_TLS' does not match"),
    ("webhooks: {clientCA: ca.crt}", "webhooks.clientCA holds no certificate: give PEM text"),
    ("webhooks: {clientNames: [kube-apiserver]}", "webhooks.clientNames is set without webhooks.clientCA"),
    ("webhooks: {port: 8080}", "webhooks.port and metrics.port are both 8080"),
    ("webhooks: {port: 65536}", "at '/webhooks/port': maximum: got 65,536, want 65,535"),
    ("{hostNetwork: true, webhooks: {port: 443}}", "hostNetwork is set with webhooks.port (443): on a node only root may"),
    ("{hostNetwork: true, webhooks: {port: 1023}, metrics: {port: 80}}", "with webhooks.port (1023) and metrics.port (80): on"),
    ("networkPolicy: {webhookFrom: [{cidr: 10.0.0.0/8}]}", "at '/networkPolicy/webhookFrom/0'"),
    ("reports: {enabled: true, schedule: hourly}", "at '/reports/schedule': 'hourly' does not match"),
    ("reports: {enabled: true, schedule: '0 * * *'}", "at '/reports/schedule': '0 * * *' does not match"),
    ("podDisruptionBudget: {enabled: 'yes'}", "at '/podDisruptionBudget/enabled': got string, want boolean"),
    ("resources: {request: {cpu: 1}}", "at '/resources': additional properties 'request' not allowed"),
    ("nodeSelector: {fast: true}", "at '/nodeSelector/fast': got boolean, want string"),
];

#[test]
fn refuses_values_that_cannot_work_and_names_them() {
    let Some(cluster) = support::cluster() else { return };
    for (values, message) in REFUSED {
        let refusal =
            with_chart(cluster.helm(["template", "gapless", "--namespace", NAMESPACE]), values).fails();
        assert!(refusal.stderr.contains(message), "{values}\n{refusal}");
    }
    for namespace in ["kube-system", "kube-public", "kube-node-lease"] {
        let refusal = with_chart(cluster.helm(["template", "gapless", "--namespace", namespace]), "").fails();
        let message = format!("gapless cannot be installed into namespace {namespace:?}");
        assert!(refusal.stderr.contains(&message), "{refusal}");
    }
}

/// Why the chart refuses ports below 1024 with hostNetwork.
#[test]
fn the_api_server_forbids_the_sysctl_with_the_network_of_the_node() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = cluster.namespace();
    let template = namespace.helm(["template", "gapless"]);
    let chart = Rendered::new(&with_chart(template, "webhooks: {port: 443}").ok());
    let create = |spec: &Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gapless"}, "spec": spec});
        namespace.kubectl(["create", "--dry-run=server", "-f", "-"]).stdin(pod.to_string())
    };
    let mut spec = chart.pod()["spec"].clone();
    spec["serviceAccountName"] = json!("default");
    create(&spec).ok();
    spec["hostNetwork"] = json!(true);
    let refusal = create(&spec).fails();
    assert!(refusal.stderr.contains("sysctl"), "{refusal}");
    assert!(refusal.stderr.contains("hostNetwork"), "{refusal}");
}

/// Helm says why, and the cluster stays as it was.
#[test]
fn an_installation_with_wrong_values_leaves_nothing_behind() {
    let Some(cluster) = support::cluster() else { return };
    let namespace = cluster.namespace();
    for (values, message) in [
        ("replicas: 3", "additional properties 'replicas' not allowed"),
        ("replicaCount: two", "at '/replicaCount': got string, want integer"),
        (
            "config: {defaultProfile: prodution}",
            r#"config.defaultProfile is "prodution": there is no such profile"#,
        ),
    ] {
        let refusal = with_chart(namespace.helm(["install", "gapless"]), values).fails();
        assert!(refusal.stderr.contains(message), "{values}\n{refusal}");
        // At most what Helm calls a failed release would be a Secret.
        let kinds = "all,secrets,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
        assert_eq!(namespace.kubectl(["get", kinds, "-o", "name"]).ok().stdout, "", "{refusal}");
    }
}

#[test]
fn every_entry_carries_the_ca() {
    let Some(cluster) = support::cluster() else { return };
    let generated = ["old", "new"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
    let [old, new] = generated.each_ref().map(|it| it.cert.pem());
    let both = format!("{old}{new}");

    let namespace = cluster.namespace();
    let template = |values: Value| {
        with_chart(namespace.helm(["template", "gapless", "--dry-run=server"]), &values.to_string())
    };
    let existing = json!({"mode": "existingSecret"});
    for (webhooks, certificates) in [
        (json!({"caBundle": both}), existing.clone()),
        (json!({"caBundle": both, "url": "https://127.0.0.1:9443"}), json!({})),
    ] {
        let chart =
            Rendered::new(&template(json!({"webhooks": webhooks, "certificates": certificates})).ok());
        assert!(chart.ca_bundles().all(|bundle| bundle.as_deref() == Some(both.as_str())));
        chart.is_accepted(cluster, &namespace.name);
    }
    let with_key = format!("{old}{}", generated[0].signing_key.serialize_pem());
    let refusal = template(json!({"webhooks": {"caBundle": with_key}, "certificates": existing})).fails();
    assert!(refusal.stderr.contains("webhooks.caBundle contains a private key"), "{refusal}");

    // Without the value, it is that of the Secret.
    let create = |name: &str, ca: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"ca.crt": ca}});
        namespace.create(&secret.to_string()).ok();
    };
    create("gapless-tls", &new);
    create("with-key", &with_key);
    let chart = Rendered::new(&template(json!({"certificates": existing})).ok());
    assert!(chart.ca_bundles().all(|bundle| bundle.as_deref() == Some(new.as_str())));
    let with_key = json!({"mode": "existingSecret", "secretName": "with-key"});
    let refusal = template(json!({"certificates": with_key})).fails();
    assert!(refusal.stderr.contains("ca.crt of Secret with-key contains a private key"), "{refusal}");

    // Where gapless keeps its certificates, the bundles are its own, and so is the Secret.
    let refusal = template(json!({})).fails();
    let theirs = format!("Secret gapless-tls in namespace {} was not made by gapless", namespace.name);
    assert!(refusal.stderr.contains(&theirs), "{refusal}");
    namespace.kubectl(["label", "secret", "gapless-tls", "app.kubernetes.io/managed-by=gapless"]).ok();
    let chart = Rendered::new(&template(json!({})).ok());
    assert!(chart.ca_bundles().all(|bundle| bundle.is_none()));
}

/// The Service stays where requests would fail without it, and the notes say so.
#[test]
fn the_service_outlives_webhooks_that_fail_closed() {
    let Some(cluster) = support::cluster() else { return };
    for (webhooks, expected) in [
        ("{}", false),
        ("{failurePolicy: Fail}", true),
        ("{mutating: {failurePolicy: Fail}}", true),
        ("{validating: {failurePolicy: Fail}}", true),
        ("{failurePolicy: Fail, validating: {failurePolicy: Ignore}}", true),
        (
            "{failurePolicy: Fail, mutating: {failurePolicy: Ignore}, validating: {failurePolicy: Ignore}}",
            false,
        ),
    ] {
        let with_helm = |verb: &[&str]| {
            let helm = cluster.helm(verb).args(["gapless", "--namespace", NAMESPACE]);
            with_chart(helm, &format!("webhooks: {webhooks}")).ok()
        };
        let chart = Rendered::new(&with_helm(&["template"]));
        let policy = &chart.one("Service")["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(*policy == "keep", expected, "{webhooks}");
        let notes = with_helm(&["install", "--dry-run=client"]).stdout;
        assert_eq!(notes.contains("--namespace platform delete service gapless"), expected, "{notes}");
    }
}

/// The notes say so where each upgrade leaves a gap, and nowhere else.
#[test]
fn the_notes_tell_about_the_gap_of_one_pod_in_the_network_of_its_node() {
    let Some(cluster) = support::cluster() else { return };
    for (values, expected) in [
        ("{hostNetwork: true, replicaCount: 1}", true),
        ("{hostNetwork: true, replicaCount: 2}", false),
        ("{replicaCount: 1}", false),
        ("{hostNetwork: true, replicaCount: 1, webhooks: {url: https://gapless.example.com}}", false),
    ] {
        let install = cluster.helm(["install", "gapless", "--dry-run=client", "--namespace", NAMESPACE]);
        let notes = with_chart(install, values).ok().stdout;
        assert_eq!(notes.contains("Each upgrade leaves a gap in which nobody answers"), expected, "{notes}");
    }
}

/// The notes say where reports are to be seen, if there are any, and that they alone run in the
/// cluster if nothing else does.
#[test]
fn the_notes_tell_about_reports() {
    let Some(cluster) = support::cluster() else { return };
    let notes = |values: &str| {
        let install = cluster.helm(["install", "gapless", "--dry-run=client", "--namespace", NAMESPACE]);
        with_chart(install, values).ok().stdout.split_once("NOTES:").expect("notes").1.to_owned()
    };
    let get = "kubectl get reports --all-namespaces --selector app.kubernetes.io/managed-by=gapless";
    for (values, has_reports, said) in [
        ("reports: {enabled: true}", true, "The API server asks it"),
        ("{}", false, "The API server asks it"),
        ("webhooks: {url: https://gapless.example.com}", false, "Nothing runs in the cluster."),
        (
            "{reports: {enabled: true}, webhooks: {url: https://gapless.example.com}}",
            true,
            "Only the CronJob of the reports runs in the cluster.",
        ),
    ] {
        let notes = notes(values);
        assert_eq!(notes.contains(get), has_reports, "{notes}");
        assert!(notes.contains(said), "{notes}");
    }
}

/// What the notes say about certificates, for each way to get them.
#[test]
fn the_notes_tell_about_certificates() {
    let Some(cluster) = support::cluster() else { return };
    let notes = |values: &str| {
        let install = cluster.helm(["install", "gapless", "--dry-run=client", "--namespace", NAMESPACE]);
        let output = with_chart(install, values).ok().stdout;
        output.split_once("NOTES:").expect("notes").1.to_owned()
    };
    let kept = notes("certificates: {secretName: kept}");
    assert!(kept.contains("gapless makes and renews its certificate for gapless.platform.svc"), "{kept}");
    assert!(kept.contains("kubectl --namespace platform delete secret kept"), "{kept}");
    assert!(!kept.contains("CAUTION"), "{kept}");

    let existing = notes("certificates: {mode: existingSecret}");
    assert!(existing.contains("The pods wait for Secret gapless-tls (tls.crt, tls.key)"), "{existing}");
    assert!(existing.contains("CAUTION: the webhook configurations carry no CA certificate"), "{existing}");
    assert!(!existing.contains("delete secret"), "{existing}");

    let by_cert_manager = notes("certificates: {mode: certManager}");
    let describe = "kubectl --namespace platform describe certificate gapless";
    assert!(by_cert_manager.contains(describe), "{by_cert_manager}");
    assert!(!by_cert_manager.contains("CAUTION"), "{by_cert_manager}");

    let outside = notes("webhooks: {url: https://gapless.example.com}");
    for notes in [&kept, &existing, &by_cert_manager, &outside] {
        assert!(!notes.contains("rollout restart"), "no pod has to be replaced for a certificate: {notes}");
    }
    assert!(!outside.contains("Secret"), "{outside}");
}
