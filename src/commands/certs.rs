//! `gapless certs`: a CA and a serving certificate in files.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::output::{self, shell_word};
use crate::certificates::Validity;
use crate::certificates::authority::Authority;
use crate::certificates::host::Host;
use crate::cli::CertsArguments;

/// What the CA calls itself.
const CA: &str = "gapless CA";

/// Years until the CA expires: twice as long as the certificate, so that it can
/// sign the next one.
const CA_YEARS: i64 = 2;

/// Years until the certificate expires. Nothing renews it.
const YEARS: i64 = 1;

/// The files, with the names that a Secret of type kubernetes.io/tls has for
/// them.
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The most characters that Helm allows in the name of a release.
const LONGEST_RELEASE: usize = 53;

/// Makes a CA and a certificate, writes them, and says how they are used.
///
/// # Errors
/// If the files cannot be written, or one of them exists. None is there then
/// that was not before.
pub fn run(arguments: &CertsArguments) -> anyhow::Result<ExitCode> {
    let mut hosts: Vec<Host> = Vec::new();
    for host in &arguments.dns {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    let now = Timestamp::now();
    let ca = Authority::generate(CA, hosts.clone(), Validity::days(CA_YEARS.years(), now))?;
    let leaf = ca.issue(Validity::days(YEARS.years(), now))?;
    let directory = arguments.out.as_path();
    let files = [
        NewFile::public(directory, CA_CERTIFICATE, ca.certificate_pem()),
        NewFile::secret(directory, CA_KEY, ca.key_pem()),
        NewFile::public(directory, CERTIFICATE, leaf.certificate_pem()),
        NewFile::secret(directory, KEY, leaf.key_pem()),
    ];
    find_place(directory, &files)?;
    write_all(&files)?;
    let summary = summary(directory, &hosts, end(ca.validity), end(leaf.validity));
    output::print_plain(&summary).context("the four files are written, but standard output cannot be")?;
    Ok(ExitCode::SUCCESS)
}

/// A file that is to be written.
struct NewFile {
    path: PathBuf,
    text: String,
    /// The permissions, before the umask takes some of them away.
    mode: u32,
}

impl NewFile {
    /// A file for everybody to read.
    fn public(directory: &Path, name: &str, text: String) -> Self {
        NewFile { path: directory.join(name), text, mode: 0o644 }
    }

    /// A file for its owner to read.
    fn secret(directory: &Path, name: &str, text: String) -> Self {
        NewFile { path: directory.join(name), text, mode: 0o600 }
    }

    /// Writes the file, and notes as soon as it has been created.
    fn write<'a>(&'a self, created: &mut Vec<&'a Path>) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // Only ever a file that did not exist, nor a link of that name.
        options.write(true).create_new(true);
        set_mode(&mut options, self.mode);
        let mut file = options.open(&self.path)?;
        created.push(&self.path);
        file.write_all(self.text.as_bytes())?;
        // Some file systems notice only now that they are full.
        file.sync_all()
    }
}

#[cfg(unix)]
fn set_mode(options: &mut OpenOptions, mode: u32) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode);
}

#[cfg(not(unix))]
fn set_mode(_: &mut OpenOptions, _: u32) {}

/// Makes sure that there is a directory, and none of the files in it.
fn find_place(directory: &Path, files: &[NewFile]) -> anyhow::Result<()> {
    for NewFile { path, .. } in files {
        // A link that leads nowhere is something that exists, too.
        match fs::symlink_metadata(path) {
            Ok(_) => return Err(exists(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let directory = directory.display();
                return Err(error).with_context(|| format!("cannot use {directory} as a directory"));
            }
        }
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))
}

/// Writes the files, or none of them.
fn write_all(files: &[NewFile]) -> anyhow::Result<()> {
    let mut created = Vec::new();
    let written = files.iter().try_for_each(|file| {
        file.write(&mut created).map_err(|error| match error.kind() {
            // Somebody else was faster.
            ErrorKind::AlreadyExists => exists(&file.path),
            _ => anyhow!(error).context(format!("cannot write {}", file.path.display())),
        })
    });
    if written.is_err() {
        for path in created {
            // What is reported is why there are no files.
            let _ = fs::remove_file(path);
        }
    }
    written
}

fn exists(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} exists, and gapless overwrites no certificates and keys; write to another directory, or remove \
         {CA_CERTIFICATE}, {CA_KEY}, {CERTIFICATE} and {KEY} from this one",
        path.display()
    )
}

/// The day at whose beginning, in UTC, a certificate expires.
fn end(validity: Validity) -> Date {
    validity.not_after.to_zoned(TimeZone::UTC).date()
}

/// What was written, and the commands that use it.
fn summary(directory: &Path, hosts: &[Host], ca_until: Date, until: Date) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    let names = hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    for (name, what) in [
        (CA_CERTIFICATE, format!("certificate of the CA, valid until {ca_until}")),
        (CA_KEY, "private key of the CA".to_owned()),
        (CERTIFICATE, format!("certificate for {names}, valid until {until}")),
        (KEY, "private key of that certificate".to_owned()),
    ] {
        // Writing to a String never fails.
        let _ =
            writeln!(text, "{}{:width$}{what}", path(name), "", width = CERTIFICATE.len() + 2 - name.len());
    }
    let _ = writeln!(
        text,
        "\n{CA_KEY} can sign more certificates for the same names: keep it away from others, or delete it.\n"
    );
    let certificate = shell_word(&path(CERTIFICATE));
    let key = shell_word(&path(KEY));
    let ca = shell_word(&format!("webhooks.caBundle={}", helm_value(&path(CA_CERTIFICATE))));
    if let Some((release, namespace)) = hosts.iter().find_map(release) {
        let _ = write!(
            text,
            "As soon as there is the namespace {namespace}:\n\n  \
             kubectl -n {namespace} create secret tls gapless-tls --cert {certificate} --key {key}\n  \
             helm install {release} charts/gapless -n {namespace} --set certificates.mode=existingSecret --set-file {ca}\n"
        );
    } else if let Some(host) = hosts.first() {
        let url = shell_word(&format!("webhooks.url=https://{}:9443", in_url(host)));
        let _ = write!(
            text,
            "On that host, outside the cluster, and then for the cluster:\n\n  \
             gapless serve --tls-cert {certificate} --tls-key {key}\n  \
             helm install gapless charts/gapless -n gapless-system --create-namespace --set {url} --set-file {ca}\n"
        );
    }
    text
}

/// The release and the namespace for which the chart makes a Service of this
/// name.
fn release(host: &Host) -> Option<(&str, &str)> {
    let Host::Name(name) = host else { return None };
    let (service, rest) = name.split_once('.')?;
    let namespace = rest.strip_suffix(".svc").filter(|namespace| !namespace.contains('.'))?;
    // The chart would add to another name, see "gapless.fullname".
    let is_kept = service.contains("gapless") && service.starts_with(|c: char| c.is_ascii_lowercase());
    (is_kept && service.len() <= LONGEST_RELEASE).then_some((service, namespace))
}

/// A value on the command line of Helm, for which some characters are syntax.
fn helm_value(text: &str) -> String {
    let mut value = String::new();
    for character in text.chars() {
        if matches!(character, '\\' | ',' | '{' | '}') {
            value.push('\\');
        }
        value.push(character);
    }
    value
}

/// The host as a URL has it.
fn in_url(host: &Host) -> String {
    match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        host => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hosts(names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| name.parse().expect("a host")).collect()
    }

    fn summary_for(directory: &str, names: &[&str]) -> String {
        summary(Path::new(directory), &hosts(names), Date::constant(2031, 12, 1), Date::constant(2030, 12, 1))
    }

    #[test]
    fn the_summary_of_an_install_in_the_cluster() {
        assert_eq!(
            summary_for("certs", &["gapless.gapless-system.svc", "::1"]),
            "\
certs/ca.crt   certificate of the CA, valid until 2031-12-01
certs/ca.key   private key of the CA
certs/tls.crt  certificate for gapless.gapless-system.svc, ::1, valid until 2030-12-01
certs/tls.key  private key of that certificate

ca.key can sign more certificates for the same names: keep it away from others, or delete it.

As soon as there is the namespace gapless-system:

  kubectl -n gapless-system create secret tls gapless-tls --cert certs/tls.crt --key certs/tls.key
  helm install gapless charts/gapless -n gapless-system --set certificates.mode=existingSecret --set-file webhooks.caBundle=certs/ca.crt
"
        );
    }

    #[test]
    fn the_summary_of_an_install_outside_the_cluster() {
        let summary = summary_for("/tmp/it's, here", &["2001:db8::1"]);
        let (_, commands) = summary.split_once("it.\n\n").expect("commands");
        assert_eq!(
            commands,
            "\
On that host, outside the cluster, and then for the cluster:

  gapless serve --tls-cert '/tmp/it'\\''s, here/tls.crt' --tls-key '/tmp/it'\\''s, here/tls.key'
  helm install gapless charts/gapless -n gapless-system --create-namespace --set 'webhooks.url=https://[2001:db8::1]:9443' --set-file 'webhooks.caBundle=/tmp/it'\\''s\\, here/ca.crt'
"
        );
    }

    /// The chart's Service has this name, or there is none.
    #[test]
    fn the_release_that_a_name_belongs_to() {
        let longest = format!("gapless-{}", "a".repeat(45));
        let too_long = format!("{longest}a");
        for (name, expected) in [
            ("gapless.gapless-system.svc", Some(("gapless", "gapless-system"))),
            ("my-gapless-2.platform.svc", Some(("my-gapless-2", "platform"))),
            (&format!("{longest}.a.svc"), Some((longest.as_str(), "a"))),
            (&format!("{too_long}.a.svc"), None),
            // Helm would get "web-gapless" and "gapless-1-gapless" out of them.
            ("web.platform.svc", None),
            ("1-gapless.platform.svc", None),
            ("gapless", None),
            ("gapless.svc", None),
            ("gapless.platform", None),
            ("gapless.platform.svc.cluster.local", None),
            ("gapless.a.b.svc", None),
            ("192.0.2.1", None),
        ] {
            let host = name.parse().expect("a host");
            assert_eq!(release(&host), expected, "{name}");
        }
    }

    #[test]
    fn a_value_for_helm() {
        assert_eq!(helm_value("/a b/it's=1.crt"), "/a b/it's=1.crt");
        assert_eq!(helm_value(r"a,b\c{d}"), r"a\,b\\c\{d\}");
    }

    #[test]
    fn all_files_or_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        let files = [
            NewFile::public(directory, "a", "public".to_owned()),
            NewFile::secret(directory, "b", "secret".to_owned()),
            NewFile::public(directory, "c", "public".to_owned()),
        ];
        let names = || {
            let entries = fs::read_dir(directory).expect("a directory");
            let names =
                entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
            let mut names = names.collect::<Vec<_>>();
            names.sort_unstable();
            names
        };

        // It has come between.
        fs::write(directory.join("c"), "another").expect("a file");
        let error = write_all(&files).expect_err("a file exists").to_string();
        assert!(error.starts_with(&format!("{}/c exists", directory.display())), "{error}");
        assert_eq!(names(), ["c"]);
        assert_eq!(fs::read(directory.join("c")).expect("a file"), b"another");

        fs::remove_file(directory.join("c")).expect("a file");
        write_all(&files).expect("three files");
        assert_eq!(names(), ["a", "b", "c"]);
        let mode = fs::metadata(directory.join("b")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
