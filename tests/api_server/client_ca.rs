//! gapless answers nobody but the API server, which shows a certificate because its
//! admission configuration says so.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::json;

use crate::support::deployment::deployment;
use crate::support::gapless::{install, upgrade};
use crate::support::{self, Gapless, eventually};

/// The common name in the certificate of the API server.
const NAME: &str = "kube-apiserver";

#[test]
fn only_the_api_server_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = write_certificates(directory.path());
    let configuration = write_admission_configuration(directory.path());
    let argument = format!("--admission-control-config-file={}", configuration.display());
    let Some(cluster) = support::own_cluster(&[argument]) else { return };
    let ca = ca.display().to_string();
    let serve = |name: &str| Gapless::start(&cluster, ["--client-ca", &ca, "--client-name", name]);

    // Waits for a denial and for an injection.
    let gapless = serve(NAME);
    install(&cluster, &gapless, "{webhooks: {failurePolicy: Fail}}");
    assert!(!gapless.log().contains("turned away"), "{}", gapless.log());

    // One that wants another client, which the API server is not.
    let other = serve("somebody-else");
    upgrade(&cluster, &other, "{webhooks: {failurePolicy: Fail}}");
    let namespace = cluster.namespace();
    eventually("a call that is not answered", || {
        let create = namespace
            .kubectl(["create", "--dry-run=server", "-f", "-"])
            .stdin(deployment("web").to_string())
            .run();
        let is_refused = create.stderr.contains(r#"failed calling webhook "production.mutate.gapless.dev""#)
            && create.stderr.contains("tls: access denied");
        if is_refused { Ok(()) } else { Err(create.to_string()) }
    });
    let log = other.log();
    assert!(log.contains("a client is turned away: it has to show a certificate of --client-ca"), "{log}");

    // What no call of the API server can do is no verdict.
    upgrade(&cluster, &other, "{webhooks: {failurePolicy: Ignore}}");
    eventually("a creation that is let through", || {
        let create = namespace
            .kubectl(["create", "--dry-run=server", "-f", "-"])
            .stdin(deployment("web").to_string())
            .run();
        if create.status.success() { Ok(()) } else { Err(create.to_string()) }
    });
}

/// A CA, and a certificate with which the API server calls webhooks. Returns the
/// path of the CA.
fn write_certificates(directory: &Path) -> PathBuf {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &ca).expect("a certificate");
    let path = directory.join("client-ca.crt");
    fs::write(&path, ca.pem()).expect("a file");
    fs::write(directory.join("client.crt"), certificate.pem()).expect("a file");
    fs::write(directory.join("client.key"), key.serialize_pem()).expect("a file");
    path
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers>
fn write_admission_configuration(directory: &Path) -> PathBuf {
    let kubeconfig = directory.join("webhooks.kubeconfig");
    let users = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": "*", "user": {
            "client-certificate": directory.join("client.crt"),
            "client-key": directory.join("client.key"),
        }}],
    });
    fs::write(&kubeconfig, users.to_string()).expect("a file");
    let plugins = ["MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"].map(|name| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": kubeconfig,
        }})
    });
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": plugins,
    });
    let path = directory.join("admission.yaml");
    fs::write(&path, configuration.to_string()).expect("a file");
    path
}
