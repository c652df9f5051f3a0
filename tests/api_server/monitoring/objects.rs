//! The objects of the chart for monitoring, and its values for them.

use serde_json::{Value, json};

use super::{EVERYTHING, Rendered, alerts_of, dashboard, panels, template};
use crate::support::fixtures::repository_file;
use crate::support::{self, Cluster};

/// Another namespace than that of the release which all tests share.
const NAMESPACE: &str = "platform";

#[track_caller]
fn render(cluster: &Cluster, values: &str) -> Rendered {
    let output = template(cluster, NAMESPACE, values);
    assert!(output.status.success(), "{output}");
    Rendered::new(&output)
}

/// What `metrics` adds to the kinds of a release.
const KINDS: [&str; 3] = ["ConfigMap", "PrometheusRule", "ServiceMonitor"];

#[test]
fn are_accepted_by_the_api_server() {
    let Some(cluster) = support::cluster() else { return };
    let crds = repository_file("tests/fixtures/crds/prometheus-operator.yaml");
    cluster.kubectl(["apply", "--server-side", "-f"]).args([&crds]).ok();
    cluster.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "-f"]).args([&crds]).ok();

    let nothing = render(cluster, "");
    for (values, added) in [
        (format!("metrics: {EVERYTHING}"), &KINDS[..]),
        ("metrics: {serviceMonitor: {enabled: true, interval: 30s}}".to_owned(), &KINDS[2..]),
        ("metrics: {prometheusRule: {enabled: true}}".to_owned(), &KINDS[1..2]),
        ("metrics: {dashboard: {enabled: true}}".to_owned(), &KINDS[..1]),
        (format!("{{certificates: {{mode: existingSecret}}, metrics: {EVERYTHING}}}"), &KINDS[..]),
        (format!("{{certificates: {{mode: certManager}}, metrics: {EVERYTHING}}}"), &KINDS[..]),
    ] {
        let chart = render(cluster, &values);
        for kind in KINDS {
            let count = nothing.all(kind).len() + usize::from(added.contains(&kind));
            assert_eq!(chart.all(kind).len(), count, "{kind} with {values}");
        }
        if !values.contains("certManager") {
            chart.is_accepted(cluster, NAMESPACE);
        }
    }
    // Outside the cluster there is nothing to scrape, and no Deployment to look at.
    let outside = render(
        cluster,
        &format!("{{webhooks: {{url: https://gapless.example.com}}, metrics: {EVERYTHING}}}"),
    );
    outside.is_accepted(cluster, NAMESPACE);
    let kinds =
        ["ConfigMap", "MutatingWebhookConfiguration", "PrometheusRule", "ValidatingWebhookConfiguration"];
    assert_eq!(outside.kinds(), kinds);
    let [all, outside] = [&render(cluster, &format!("metrics: {EVERYTHING}")), &outside].map(|chart| {
        let alerts = alerts_of(chart.one("PrometheusRule")).into_iter();
        alerts.map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    let of_pods: Vec<&String> = all.iter().filter(|alert| !outside.contains(alert)).collect();
    assert_eq!(of_pods, ["GaplessReplicasMissing", "GaplessPodsNotScraped"]);
}

#[test]
fn the_service_monitor_finds_the_metrics_of_the_pods() {
    let Some(cluster) = support::cluster() else { return };
    let chart = render(
        cluster,
        "metrics: {serviceMonitor: {enabled: true, interval: 15s, labels: {release: stack}}}",
    );
    let (monitor, service) = (chart.one("ServiceMonitor"), chart.one("Service"));
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    for (key, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service["metadata"]["labels"][key], value);
    }
    let endpoint = json!({"port": "metrics", "path": "/metrics", "interval": "15s"});
    assert_eq!(monitor["spec"]["endpoints"], json!([endpoint]));
    let ports = service["spec"]["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == endpoint["port"]).expect("the port");
    let container = chart.container()["ports"].as_array().unwrap();
    assert!(container.iter().any(|it| it["name"] == port["targetPort"] && it["containerPort"] == 8080));
    assert_eq!(monitor["metadata"]["labels"]["release"], "stack");
}

#[test]
fn labels_select_and_never_replace_those_of_the_chart() {
    let Some(cluster) = support::cluster() else { return };
    let labels = r#"{team: sre, app.kubernetes.io/name: other, grafana_dashboard: "yes"}"#;
    let [plain, labelled] = ["{}", labels].map(|labels| {
        let values = ["serviceMonitor", "prometheusRule", "dashboard"]
            .map(|object| format!("{object}: {{enabled: true, labels: {labels}}}"));
        render(cluster, &format!("metrics: {{{}}}", values.join(", ")))
    });
    let of = |chart: &Rendered, kind: &str| {
        let newest = chart
            .all(kind)
            .into_iter()
            .find(|it| !it["data"]["gapless.json"].is_null() || kind != "ConfigMap");
        newest.unwrap()["metadata"]["labels"].clone()
    };
    for kind in KINDS {
        assert_eq!(of(&plain, kind)["team"], Value::Null);
        assert_eq!(of(&labelled, kind)["team"], "sre");
        assert_eq!(of(&labelled, kind)["app.kubernetes.io/name"], "gapless", "{kind}");
    }
    assert_eq!(of(&plain, "ConfigMap")["grafana_dashboard"], "1");
    assert_eq!(of(&labelled, "ConfigMap")["grafana_dashboard"], "yes");
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let Some(cluster) = support::cluster() else { return };
    let chart = render(cluster, "metrics: {dashboard: {enabled: true}}");
    let maps = chart.all("ConfigMap");
    let text = maps.iter().find_map(|map| map["data"]["gapless.json"].as_str()).expect("the dashboard");
    let dashboard = dashboard();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard);

    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let [variable] = &variables[..] else { panic!("one variable: {variables:#?}") };
    assert_eq!((&variable["type"], &variable["query"]), (&json!("datasource"), &json!("prometheus")));
    assert_eq!(variable["current"], json!({}), "no data source of ours");
    let source = json!({"type": "prometheus", "uid": format!("${{{}}}", variable["name"].as_str().unwrap())});
    let mut taken = std::collections::HashSet::new();
    let mut ids = std::collections::HashSet::new();
    for panel in panels(&dashboard) {
        assert_eq!(panel["datasource"], source, "{panel:#}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"], Value::Null, "that of the panel");
        }
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel:#}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "wider than Grafana's grid: {panel:#}");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(taken.insert(cell), "over another panel: {panel:#}");
        }
    }
}

/// Values that cannot work, and what Helm says of them.
#[rustfmt::skip]
const REFUSED: [(&str, &str); 6] = [
    ("metrics: {enabled: true}", "at '/metrics': additional properties 'enabled' not allowed"),
    ("metrics: {serviceMonitor: {enabled: 'yes'}}", "at '/metrics/serviceMonitor/enabled': got string, want boolean"),
    ("metrics: {serviceMonitor: {interval: 30}}", "at '/metrics/serviceMonitor/interval': got number, want string"),
    ("metrics: {serviceMonitor: {interval: often}}", "at '/metrics/serviceMonitor/interval': 'often' does not match"),
    ("metrics: {prometheusRule: {interval: 30s}}", "at '/metrics/prometheusRule': additional properties 'interval'"),
    ("metrics: {dashboard: {labels: {a: 1}}}", "at '/metrics/dashboard/labels/a': got number, want string"),
];

#[test]
fn values_that_cannot_work_are_refused() {
    let Some(cluster) = support::cluster() else { return };
    for (values, message) in REFUSED {
        let output = template(cluster, NAMESPACE, values);
        assert!(!output.status.success() && output.stderr.contains(message), "{values}\n{output}");
    }
}

#[test]
fn helm_finds_nothing_to_criticise() {
    let Some(cluster) = support::cluster() else { return };
    let chart = repository_file("charts/gapless");
    let lint = cluster.helm(["lint", "--strict", "--values", "-"]).args([chart]);
    let lint = lint.stdin(format!("metrics: {EVERYTHING}")).ok();
    assert!(!lint.stdout.contains("[WARNING]") && !lint.stdout.contains("[ERROR]"), "{lint}");
}
