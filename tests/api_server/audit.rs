//! `gapless audit` on a real API server, in a cluster that has never heard of
//! gapless.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::audit::{audit, audit_as, names};
use crate::support::deployment::deployment_with;
use crate::support::fixtures::configuration;
use crate::support::namespace::Namespace;
use crate::support::ran::Ran;
use crate::support::{self, Cluster};

/// How many Deployments each namespace of the fleet has: a fifth of them would
/// be denied, and a fifth has one replica only.
const EACH: usize = 50;

/// What ran in the cluster before anybody thought of gapless. No test adds to it.
struct Fleet {
    cluster: &'static Cluster,
    /// Two namespaces without a label.
    shop: Namespace<'static>,
    bank: Namespace<'static>,
    advisory: Namespace<'static>,
    development: Namespace<'static>,
    misspelt: Namespace<'static>,
    off: Namespace<'static>,
}

/// `None` as for [`support::cluster`]. In a control plane of its own, for all Deployments
/// of a cluster are counted.
fn fleet() -> Option<&'static Fleet> {
    static FLEET: LazyLock<Option<Fleet>> = LazyLock::new(|| {
        support::own_cluster(&[]).map(|cluster| Fleet::create(Box::leak(Box::new(cluster))))
    });
    // Asked here too, so that each skipped test says that it is.
    support::cluster()?;
    FLEET.as_ref()
}

impl Fleet {
    fn create(cluster: &'static Cluster) -> Fleet {
        let labelled = |profile| cluster.namespace_labelled(&[("gapless.dev/profile", profile)]);
        let fleet = Fleet {
            cluster,
            shop: cluster.namespace(),
            bank: cluster.namespace(),
            advisory: labelled("advisory"),
            development: labelled("development"),
            misspelt: labelled("prodution"),
            off: labelled("off"),
        };
        let mut items = vec![deployment("kube-system", "dns", &json!({"revisionHistoryLimit": 0}))];
        for namespace in fleet.namespaces() {
            items.extend((0..EACH).map(|number| {
                let spec = match number % 5 {
                    0 => json!({"revisionHistoryLimit": 0}),
                    1 => json!({"replicas": 1}),
                    _ => json!({}),
                };
                deployment(&namespace.name, &format!("app-{number:02}"), &spec)
            }));
        }
        items.push(fleet.owned());
        let mut deleting = deployment(&fleet.bank.name, "deleting", &json!({"revisionHistoryLimit": 0}));
        deleting["metadata"]["finalizers"] = json!(["example.com/slow"]);
        items.push(deleting);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        cluster.kubectl(["create", "-f", "-"]).stdin(list.to_string()).ok();
        fleet.bank.kubectl(["delete", "deployment", "deleting", "--wait=false"]).ok();
        fleet
    }

    fn namespaces(&self) -> [&Namespace<'static>; 6] {
        [&self.shop, &self.bank, &self.advisory, &self.development, &self.misspelt, &self.off]
    }

    /// A Deployment with a controller; the garbage collector insists that it exists.
    fn owned(&self) -> Value {
        self.bank.kubectl(["create", "configmap", "controller"]).ok();
        let uid = self.bank.get_json("configmap", "controller")["metadata"]["uid"].clone();
        let mut owned = deployment(&self.bank.name, "owned", &json!({"revisionHistoryLimit": 0}));
        owned["metadata"]["ownerReferences"] = json!([
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "controller", "uid": uid, "controller": true},
        ]);
        owned
    }

    /// `gapless audit` as this user.
    fn audit(&self, user: &str, arguments: &[&str]) -> Ran {
        audit_as(self.cluster, user, arguments)
    }

    fn report(&self, arguments: &[&str]) -> Value {
        self.audit("admin", &[arguments, &["-f", "json"]].concat()).json()
    }
}

/// A Deployment in this namespace, with these fields of `spec` on top.
fn deployment(namespace: &str, name: &str, spec: &Value) -> Value {
    let mut object = deployment_with(name, spec);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

#[test]
fn the_numbers_of_a_whole_cluster() {
    let Some(fleet) = fleet() else { return };
    let audited = fleet.audit("admin", &["-A", "-f", "json"]);
    assert_eq!((audited.code, audited.stderr.as_str()), (1, ""), "{audited:?}");
    let report = audited.json();

    let summary = &report["summary"];
    let mut namespaces = vec![
        json!({"namespace": fleet.shop.name, "profile": "production", "judged": 50, "deployments": 50, "denied": 10, "warned": 10}),
        json!({"namespace": fleet.bank.name, "profile": "production", "judged": 50, "deployments": 50, "denied": 10, "warned": 10}),
        json!({"namespace": fleet.misspelt.name, "profile": "production", "judged": 50, "deployments": 50, "denied": 10, "warned": 10}),
        json!({"namespace": fleet.advisory.name, "profile": "advisory", "judged": 50, "deployments": 50, "denied": 0, "warned": 20}),
        json!({"namespace": fleet.development.name, "profile": "development", "judged": 50, "deployments": 50, "denied": 0, "warned": 10}),
    ];
    namespaces.sort_by_key(|it| it["namespace"].as_str().unwrap().to_owned());
    assert_eq!(
        *summary,
        json!({
            "judged": 250, "deployments": 250, "denied": 30, "warned": 60, "fine": 160, "waived": 0, "audited": 0,
            "skipped": 53, "errors": 0,
            "denials": {"no-rollback-history": 30},
            "warnings": {"no-rollback-history": 20, "single-replica": 40},
            "injections": {"readiness-probe": 200, "pre-stop-sleep": 150, "rolling-update": 150, "version-label": 200},
            "announcements": {"readiness-probe": 50, "pre-stop-sleep": 50, "rolling-update": 50, "version-label": 50},
            "namespaces": namespaces,
        })
    );
    assert_eq!(
        report["scope"],
        json!({"server": fleet.cluster.server(), "context": "bench", "namespace": null})
    );
    assert_eq!(report["unknownProfiles"], json!([{"namespace": fleet.misspelt.name, "label": "prodution"}]));

    let skipped = |reason: &str| {
        let skipped = report["skipped"].as_array().unwrap().iter().filter(|it| it["reason"] == reason);
        names(&skipped.cloned().collect())
    };
    assert_eq!(skipped("system-namespace"), ["kube-system/dns"]);
    assert_eq!(skipped("owned"), [format!("{}/owned", fleet.bank.name)]);
    assert_eq!(skipped("deleting"), [format!("{}/deleting", fleet.bank.name)]);
    assert_eq!(skipped("profile-off").len(), EACH);

    // The worst first.
    let worth =
        |it: &Value| (it["denied"].as_array().unwrap().len(), it["warnings"].as_array().unwrap().len());
    let worths: Vec<_> = report["deployments"].as_array().unwrap().iter().map(worth).collect();
    assert!(worths.is_sorted_by(|a, b| a >= b), "{worths:?}");
    assert_eq!((worths.len(), worths[0], worths[249]), (250, (1, 0), (0, 0)));

    let finding = &report["findings"][0];
    assert_eq!(finding["outcome"], "deny");
    assert_eq!(finding["field"], "spec.revisionHistoryLimit");
    assert_eq!(finding["profile"], "production");
    let announced = report["injections"].as_array().unwrap().iter().filter(|it| it["announcedOnly"] == true);
    assert!(announced.clone().count() == 200 && announced.clone().all(|it| it["profile"] == "advisory"));
}

#[test]
fn the_text_is_a_table_and_numbers() {
    let Some(fleet) = fleet() else { return };
    let audited = fleet.audit("admin", &["--namespace", &fleet.shop.name]);
    assert_eq!((audited.code, audited.stderr.as_str()), (1, ""), "{audited:?}");
    let lines: Vec<Vec<&str>> =
        audited.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let shop = fleet.shop.name.as_str();
    assert_eq!(
        lines[0],
        ["NAMESPACE", "NAME", "PROFILE", "DENIED", "BY", "WARNINGS", "NEXT", "ROLLOUT", "INJECTS"]
    );
    let all = "readiness-probe,pre-stop-sleep,rolling-update,version-label";
    assert_eq!(lines[1], [shop, "app-00", "production", "no-rollback-history", "-", all]);
    assert_eq!(lines[11], [shop, "app-01", "production", "-", "single-replica", all]);
    assert_eq!(lines[21], [shop, "app-02", "production", "-", "-", all]);
    let end = format!(
        "\n50 Deployments in namespace {shop} of {} (context bench)\n  \
         denied if new  10: no-rollback-history 10\n  \
         with warnings  10: single-replica 10\n  \
         neither        30\n  \
         next rollout   readiness-probe 50, pre-stop-sleep 50, rolling-update 50, version-label 50\n\n\
         What a rule means: gapless rules ID. Every finding with its fix: -f json\n",
        fleet.cluster.server()
    );
    assert!(audited.stdout.ends_with(&end), "{}", audited.stdout);
    assert!(!audited.stdout.contains('\u{1b}'), "no styles without a terminal");
}

#[test]
fn the_page_has_the_numbers_and_what_programs_read() {
    let Some(fleet) = fleet() else { return };
    let page = fleet.audit("admin", &["-A", "-f", "html"]);
    assert_eq!(page.code, 1, "{}", page.stderr);
    let data = page.data_of_page();
    assert_eq!(data, fleet.audit("admin", &["-A", "-f", "json"]).json());
    let judged = data["summary"]["deployments"].as_u64().expect("a number");
    let sentence = format!("of {judged} Deployments lose requests at each rollout; ");
    assert!(page.stdout.contains(&sentence), "{sentence}");
    for namespace in [&fleet.shop, &fleet.advisory, &fleet.development] {
        assert!(page.stdout.contains(&format!(">{}</a></th>", namespace.name)), "{}", namespace.name);
    }
    assert!(page.stdout.contains("the profile of its namespace is off (profile-off)"));
}

#[test]
fn the_configuration_decides() {
    let Some(fleet) = fleet() else { return };
    let config = fleet.cluster.file("audit-config.yaml");
    let write = |rest: &str| {
        fs::write(&config, configuration(rest)).unwrap();
        config.to_str().unwrap()
    };
    let shop = fleet.shop.name.as_str();
    let path = write(&format!("defaultProfile: advisory\nexemptions: {{namespaces: [{}]}}", fleet.bank.name));
    let report = fleet.report(&["--config", path, "-n", shop]);
    assert_eq!((&report["profile"], &report["summary"]["denied"]), (&json!("advisory"), &json!(0)));
    assert_eq!(report["deployments"][0]["profile"], "advisory");
    let report = fleet.report(&["--config", path, "-n", &fleet.bank.name]);
    assert_eq!(report["deployments"], json!([]));
    let skipped = report["skipped"].as_array().unwrap();
    assert!(skipped.len() == EACH + 2 && skipped.iter().all(|it| it["reason"] == "exempt-namespace"));

    let path = write("defaultProfile: nonsense");
    let audited = fleet.audit("admin", &["--config", path, "-n", shop]);
    assert_eq!(audited.code, 2);
    assert!(
        audited.stderr.contains("audit-config.yaml:3:") && audited.stderr.contains("there is no profile"),
        "{audited:?}"
    );
}

#[test]
fn long_lists_are_read_in_pages() {
    let Some(fleet) = fleet() else { return };
    assert_eq!(fleet.report(&["-A", "--chunk-size", "70"]), fleet.report(&["-A"]));

    let log = fleet.cluster.audit_log();
    let requests = |path: &str| {
        let ours = log
            .iter()
            .filter(|event| event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("gapless/")));
        let uris = ours.filter_map(|event| event["requestURI"].as_str());
        uris.filter(|uri| uri.starts_with(path)).map(str::to_owned).collect::<Vec<_>>()
    };
    let pages = requests("/apis/apps/v1/deployments?&limit=70");
    // Once to know them as neighbours, and once to judge them.
    assert_eq!(pages.len(), 2 * 5, "303 Deployments: {pages:#?}");
    assert_eq!(pages.iter().filter(|uri| uri.contains("&continue=")).count(), 2 * 4);
    assert!(
        requests("/apis/apps/v1/deployments").contains(&"/apis/apps/v1/deployments?&limit=500".to_owned())
    );
    assert!(requests("/api/v1/namespaces").contains(&"/api/v1/namespaces?&limit=70".to_owned()));
    let verbs =
        log.iter().filter(|event| event["userAgent"].as_str().is_some_and(|it| it.starts_with("gapless/")));
    assert!(verbs.clone().all(|event| event["verb"] == "list" || event["verb"] == "get"), "it only reads");
}

#[test]
fn rights_in_one_namespace_are_enough() {
    let Some(fleet) = fleet() else { return };
    let advisory = fleet.advisory.name.as_str();
    fleet.audit("team", &["--namespace", advisory]).failed_with(&format!(
        "the permission to list deployments.apps in namespace {advisory} is missing; the API server says: \
         deployments.apps is forbidden: User \"team\" cannot list resource \"deployments\" in API group \"apps\" \
         in the namespace \"{advisory}\""
    ));
    fleet.audit("team", &["-A"]).failed_with(
        "the permission to list namespaces is missing; the API server says: namespaces is forbidden: \
         User \"team\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope",
    );

    fleet.advisory.grant("team", &["list"], "deployments.apps");
    let blind = fleet.audit("team", &["--namespace", advisory, "-f", "json"]);
    assert_eq!(blind.code, 1, "{blind:?}");
    assert!(
        blind.stderr.starts_with(&format!(
            "note: the profile of namespace {advisory} is not known, the default production is taken: \
             the permission to get namespaces in namespace {advisory} is missing;"
        )),
        "{blind:?}"
    );
    assert_eq!(blind.json()["summary"]["denied"], 10);

    // There are no Rollouts, so that nobody has to be allowed to list them.
    let blind = blind.json();
    let unlisted: Vec<&Value> = blind["unlisted"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!(
        unlisted,
        [
            "Service",
            "PersistentVolumeClaim",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "StatefulSet",
            "DaemonSet"
        ]
    );
    fleet.advisory.grant("team", &["get"], "namespaces");
    let seeing = fleet.audit("team", &["--namespace", advisory, "-f", "json"]);
    assert_eq!((seeing.code, seeing.stderr.as_str()), (0, ""), "{seeing:?}");
    assert_eq!(seeing.json()["summary"]["warned"], 20);
}

#[test]
fn the_cluster_is_found_as_kubectl_finds_it() {
    let Some(fleet) = fleet() else { return };
    let server = fleet.cluster.server();
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let admin = fs::read_to_string(fleet.cluster.kubeconfig("admin")).unwrap();
    let mut contexts: Value = serde_json::from_str(&admin).unwrap();
    contexts["contexts"] = json!([
        {"name": "shop", "context": {"cluster": "bench", "user": "admin", "namespace": fleet.shop.name}},
        {"name": "bank", "context": {"cluster": "bench", "user": "admin", "namespace": fleet.bank.name}},
    ]);
    contexts["current-context"] = json!("shop");
    let users = json!({"apiVersion": "v1", "kind": "Config", "users": contexts["users"].take()});
    let file = |name: &str, content: &Value| {
        let path = home.join(name);
        fs::write(&path, content.to_string()).unwrap();
        path.display().to_string()
    };
    let (contexts, users) = (file("contexts", &contexts), file("users", &users));
    let namespace = |environment: &[(&str, String)], arguments: &[&str]| {
        let audited = audit(home, environment, &[arguments, &["-f", "json"]].concat());
        audited.json()["scope"].clone()
    };
    let scope =
        |context: &str, it: &Namespace| json!({"server": server, "context": context, "namespace": it.name});

    // The user is in another file, and one of the files does not exist.
    let both = [("KUBECONFIG", format!("{}/none:{contexts}:{users}", home.display()))];
    assert_eq!(namespace(&both, &[]), scope("shop", &fleet.shop));
    assert_eq!(namespace(&both, &["--context", "bank"]), scope("bank", &fleet.bank));
    assert_eq!(namespace(&both, &["-n", &fleet.off.name]), scope("shop", &fleet.off));
    audit(home, &both, &["--context", "baank"]).failed_with(
        "there is no context \"baank\" in the kubeconfig; write --context with one of: shop, bank",
    );

    let explicit = fleet.cluster.kubeconfig("admin").display().to_string();
    let other = [("KUBECONFIG", contexts)];
    assert_eq!(
        namespace(&other, &["--kubeconfig", &explicit, "-n", &fleet.shop.name]),
        scope("bench", &fleet.shop)
    );
    audit(home, &other, &["--kubeconfig", "/none"])
        .failed_with("cannot read the kubeconfig /none: No such file or directory (os error 2)");

    audit(home, &[], &[]).failed_with(&format!(
        "there is no kubeconfig: {}/.kube/config does not exist or is empty, and this is not a pod of a cluster; \
         write --kubeconfig FILE, or set KUBECONFIG",
        home.display()
    ));
    fs::create_dir(home.join(".kube")).unwrap();
    fs::copy(&explicit, home.join(".kube/config")).unwrap();
    assert_eq!(namespace(&[], &["-n", &fleet.bank.name]), scope("bench", &fleet.bank));
    // A proxy of the environment is not for this machine.
    let proxy = [("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())];
    assert_eq!(namespace(&proxy, &["-n", &fleet.bank.name]), scope("bench", &fleet.bank));
}

#[test]
fn what_is_wrong_with_the_cluster_is_said() {
    let Some(fleet) = fleet() else { return };
    fleet.cluster.write_kubeconfig("stranger", "no-token-of-anybody");
    fleet.audit("stranger", &["-A"]).failed_with(&format!(
        "the API server {} does not accept the credentials (401 Unauthorized); the token or certificate in the \
         kubeconfig has expired or is wrong, log in again",
        fleet.cluster.server()
    ));
    fleet.audit("admin", &["-n", "nowhere"]).failed_with("namespaces \"nowhere\" not found");

    let edited = |name: &str, edit: &dyn Fn(&mut Value)| {
        let admin = fs::read_to_string(fleet.cluster.kubeconfig("admin")).unwrap();
        let mut kubeconfig: Value = serde_json::from_str(&admin).unwrap();
        edit(&mut kubeconfig);
        fs::write(fleet.cluster.kubeconfig(name), kubeconfig.to_string()).unwrap();
        fleet.audit(name, &["-A"])
    };
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    edited("closed", &|it| it["clusters"][0]["cluster"]["server"] = json!(format!("https://{closed}")))
        .failed_with(&format!(
            "cannot reach the API server https://{closed}: Connection refused (os error 111)"
        ));
    let other_ca = edited("other-ca", &|it| {
        let pem = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap().cert.pem();
        let path = fleet.cluster.file("other-ca.crt");
        fs::write(&path, pem).unwrap();
        it["clusters"][0]["cluster"]["certificate-authority"] = json!(path);
    });
    assert!(
        other_ca.stderr.starts_with("error: cannot reach the API server")
            && other_ca.stderr.contains("certificate"),
        "{other_ca:?}"
    );
    let token_file = |name: &str, token: &str| {
        let path = fleet.cluster.file("token");
        fs::write(&path, token).unwrap();
        edited(name, &|it| it["users"][0]["user"] = json!({"token": "old", "tokenFile": path}))
    };
    assert_eq!(token_file("token-file", "admin-token\n").code, 1, "a line break is no part of it");
    let why = "cannot use the kubeconfig: the token has line breaks or control characters in it; write it on one line";
    token_file("token-file", "admin\n-token").failed_with(why);
    edited("two-lines", &|it| it["users"][0]["user"] = json!({"token": "admin\n-token"})).failed_with(why);
    edited("no-token-file", &|it| it["users"][0]["user"] = json!({"tokenFile": "/none"})).failed_with(
        "cannot use the kubeconfig: the token file /none: No such file or directory (os error 2)",
    );
    let plugin = edited("plugin", &|it| {
        it["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never",
            "args": ["-c", "echo 'please log in' >&2; exit 3"],
        }});
    });
    assert_eq!(plugin.code, 2);
    assert!(
        plugin.stderr.contains("the credential plugin `")
            && plugin.stderr.trim_end().ends_with("please log in"),
        "{plugin:?}"
    );
}

#[test]
fn as_a_plugin_of_kubectl() {
    let Some(fleet) = fleet() else { return };
    let directory = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_gapless"), directory.path().join("kubectl-gapless")).unwrap();
    let kubectl = |arguments: &[&str]| {
        let path =
            std::env::join_paths([PathBuf::from(directory.path()), PathBuf::from("/usr/bin"), "/bin".into()]);
        fleet.cluster.kubectl(arguments).env("PATH", path.unwrap()).run()
    };
    let audited = kubectl(&["gapless", "audit", "-n", &fleet.development.name]);
    assert_eq!(audited.status.code(), Some(0), "{audited}");
    assert!(audited.stdout.contains("  with warnings  10: no-rollback-history 10\n"), "{audited}");
    let help = kubectl(&["gapless", "audit", "--help"]);
    assert!(help.stdout.contains("Usage: kubectl gapless audit [OPTIONS]"), "{help}");
    let misused = kubectl(&["gapless", "audit", "-A", "-n", "x"]);
    assert_eq!(misused.status.code(), Some(2), "{misused}");
    assert!(misused.stderr.contains("Usage: kubectl gapless audit"), "{misused}");
}
