//! The surroundings of a workload in files: the other objects of the same input.
//!
//! Repositories hold copies of one application for several environments, side by side
//! (`dev/`, `prod/`), and few of them write a namespace. So the nearest counts: for each
//! kind of neighbour the workload's directory and all below it is looked through, then the
//! directory above and all below that, and so on, until something concerns the workload.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::documents::Parsed;
use super::objects;
use super::source::{Name, Source};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::label_selector::StringMap;
use crate::surroundings::neighbour::{
    Clue, Neighbour, Role, Subject, behind, pod_labels, service_selector, trimmed,
};
use crate::surroundings::{Backend, Surroundings};

/// The Services of the input as they have been so far: of several documents with one name
/// each is the next state of the same Service.
#[derive(Debug, Default)]
pub struct Services(HashMap<ServiceId, Option<Labels>>);

/// Directory, namespace and name. Where a namespace is written the directory is none: else
/// it could be the Service of another environment.
type ServiceId = (Option<PathBuf>, Option<String>, String);

type Labels = BTreeMap<String, String>;

impl Services {
    /// Takes note of a Service. If it has been there before, and selected other pods, it
    /// says by which labels it selects them now.
    pub fn switch<'s>(&mut self, service: &'s Value, source: &Source) -> Option<StringMap<'s>> {
        let text = |path| service.pointer(path).and_then(Value::as_str);
        let namespace = text("/metadata/namespace").map(str::to_owned);
        // As `./a` and `a` are one.
        let names = || directory(source).components().filter(|part| *part != Component::CurDir);
        let directory = namespace.is_none().then(|| names().collect());
        let id = (directory, namespace, text("/metadata/name")?.to_owned());
        let selector = service_selector(service);
        let owned =
            |map: &StringMap| map.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let new: Option<Labels> = selector.as_ref().map(owned);
        let old = self.0.insert(id, new.clone())?;
        selector.filter(|_| old != new)
    }
}

/// All objects of the input that may be neighbours of its workloads.
#[derive(Debug, Default)]
pub struct Objects(Vec<(PathBuf, Value)>);

impl Objects {
    /// Adds those of one file. What cannot be read is none; whoever judges the file says so.
    pub fn add(&mut self, file: &Parsed) {
        let directory = directory(file.source);
        for root in file.documents.iter().filter_map(|(_, root)| root.as_ref().ok()) {
            let objects = objects::objects(root);
            let values =
                objects.iter().map(|object| object.to_value()).filter(|it| Neighbour::read(it).is_some());
            self.0.extend(values.map(|value| (directory.to_owned(), trimmed(&value))));
        }
    }

    /// The same, ready to be asked.
    pub fn neighbours(&self) -> Neighbours<'_> {
        let mut neighbours = Neighbours::default();
        for (directory, value) in &self.0 {
            let Some(neighbour) = Neighbour::read(value) else { continue };
            let group = (neighbour.role(), neighbour.namespace(), neighbour.clue());
            neighbours.0.entry(group).or_default().push((directory, neighbour));
        }
        neighbours
    }
}

/// Where a file is; standard input is nowhere in particular.
fn directory(source: &Source) -> &Path {
    match &source.name {
        Name::Stdin => Path::new(""),
        Name::Path(path) => path.parent().unwrap_or(Path::new("")),
    }
}

/// What a neighbour is, where, and the clue without which it concerns nobody.
type Group<'o> = (Role, Option<&'o str>, Option<Clue<'o>>);

/// The objects of the input, each with its directory.
#[derive(Debug, Default)]
pub struct Neighbours<'o>(HashMap<Group<'o>, Vec<(&'o Path, Neighbour<'o>)>>);

impl Neighbours<'_> {
    /// What is around `object`, which is of this kind and in `source`.
    pub fn around(&self, kind: Kind, object: &Value, source: &Source) -> Surroundings {
        let labels = pod_labels(object);
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let subject = Subject::of(kind, object, namespace, &labels);
        let found = Role::ALL.into_iter().flat_map(|role| self.nearest(role, &subject, directory(source)));
        Surroundings::of(found)
    }

    /// The workloads of all of the input whose pods `selector`, of a Service in this
    /// namespace, selects.
    pub fn behind(&self, selector: &StringMap, namespace: Option<&str>) -> Vec<Backend> {
        let workloads = self.0.iter().filter(|((role, ..), _)| *role == Role::Workload);
        let workloads: Vec<&Neighbour> = workloads.flat_map(|(_, all)| all).map(|(_, it)| it).collect();
        behind(&workloads, selector, namespace, |pods| pods.are_wanted)
    }

    /// The neighbours of one kind that concern the workload, of which the nearest count.
    fn nearest<'n>(&'n self, role: Role, subject: &Subject<'n>, start: &Path) -> Vec<&'n Neighbour<'n>> {
        let clues = subject.clues(role).into_iter();
        let namespace = subject.namespace_of(role);
        let all = clues.filter_map(|clue| self.0.get(&(role, namespace, clue))).flatten();
        // Elsewhere, what has the same name is the same application in another form; and
        // without a namespace two applications need not be meant for the same one.
        let may_overlap = |path: &Path, other: &Neighbour| {
            path == start || (subject.namespace.is_some() && other.name() != subject.name)
        };
        let concerned = all
            .filter(|(_, neighbour)| neighbour.concerns(subject))
            .filter(|(path, neighbour)| role != Role::Workload || may_overlap(path, neighbour))
            .map(|(path, neighbour)| (*path, neighbour));
        nearest_of(&concerned.collect::<Vec<_>>(), start)
    }
}

/// Those in or below the first directory, from `start` upwards, where there are any.
fn nearest_of<'n>(neighbours: &[(&Path, &'n Neighbour<'n>)], start: &Path) -> Vec<&'n Neighbour<'n>> {
    let below = |directory: &Path| -> Vec<&'n Neighbour<'n>> {
        let below = neighbours.iter().filter(|(path, _)| path.starts_with(directory));
        below.map(|(_, neighbour)| *neighbour).collect()
    };
    start.ancestors().map(below).find(|found| !found.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web}], volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}
";

    fn service(port: u16) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{selector: {{app: web}}, ports: [{{port: {port}}}]}}\n"
        )
    }

    fn source(path: &str, text: String) -> Source {
        let name = if path == "-" { Name::Stdin } else { Name::Path(path.into()) };
        Source::new(name, text)
    }

    /// What is around the Deployment of the first file.
    fn around(files: &[(&str, String)]) -> Surroundings {
        let sources: Vec<Source> = files.iter().map(|(path, text)| source(path, text.clone())).collect();
        let mut objects = Objects::default();
        let files: Vec<Parsed> = sources.iter().map(Parsed::of).collect();
        files.iter().for_each(|file| objects.add(file));
        let root = files[0].documents[0].1.as_ref().unwrap();
        objects.neighbours().around(Kind::Deployment, &root.to_value(), &sources[0])
    }

    fn targets(files: &[(&str, String)]) -> Vec<crate::surroundings::Target> {
        let services = around(files).services;
        services.iter().flat_map(|service| &service.ports).map(|port| port.target.clone()).collect()
    }

    fn number(port: i32) -> crate::surroundings::Target {
        crate::surroundings::Target::Number(port)
    }

    #[test]
    fn the_nearest_directory_decides() {
        let web = || DEPLOYMENT.to_owned();
        let dev = ("dev/service.yaml", service(1));
        let prod = ("prod/service.yaml", service(2));
        assert_eq!(targets(&[("dev/web.yaml", web()), dev.clone(), prod.clone()]), [number(1)]);
        assert_eq!(targets(&[("prod/web.yaml", web()), dev.clone(), prod.clone()]), [number(2)]);
        // Those of both stand below the directory of a base.
        assert_eq!(targets(&[("web.yaml", web()), dev.clone(), prod.clone()]), [number(1), number(2)]);
        assert_eq!(targets(&[("base/web.yaml", web()), dev.clone()]), [number(1)], "one above");
        // What is nearer hides what is farther off.
        let beside = ("base/service.yaml", service(3));
        assert_eq!(targets(&[("base/web.yaml", web()), dev.clone(), beside.clone()]), [number(3)]);
        let below = ("base/more/service.yaml", service(4));
        assert_eq!(targets(&[("base/web.yaml", web()), beside, below]), [number(3), number(4)]);
        assert_eq!(targets(&[("-", web()), ("-", service(5))]), [number(5)]);
        assert_eq!(
            targets(&[("a/web.yaml", web()), ("ab/service.yaml", service(6))]),
            [number(6)],
            "by the root"
        );
    }

    #[test]
    fn another_kind_of_neighbour_is_looked_for_by_itself() {
        let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteMany]}\n";
        let found = around(&[
            ("base/web.yaml", DEPLOYMENT.to_owned()),
            ("base/service.yaml", service(1)),
            ("storage/claim.yaml", claim.to_owned()),
        ]);
        assert_eq!(found.services.len(), 1);
        assert_eq!(found.claims, BTreeMap::from([("data".to_owned(), true)]));
    }

    /// In which of these files a Service switches. They are read in this order.
    fn switches(files: &[(&str, &str)]) -> Vec<usize> {
        let mut services = Services::default();
        let switches = files.iter().enumerate().filter(|(_, (path, text))| {
            let source = source(path, (*text).to_owned());
            let parsed = Parsed::of(&source);
            let root = parsed.documents[0].1.as_ref().unwrap().to_value();
            services.switch(&root, &source).is_some()
        });
        switches.map(|(index, _)| index).collect()
    }

    #[test]
    fn a_service_that_comes_again_is_the_same_one_later() {
        const BLUE: &str = "{metadata: {name: web}, spec: {selector: {track: blue}}}";
        const GREEN: &str = "{metadata: {name: web}, spec: {selector: {track: green}}}";
        const NONE: &str = "{metadata: {name: web}, spec: {type: ExternalName}}";
        const OTHER: &str = "{metadata: {name: api}, spec: {selector: {track: green}}}";
        assert_eq!(
            switches(&[("a.yaml", BLUE), ("b.yaml", GREEN), ("c.yaml", GREEN), ("d.yaml", BLUE)]),
            [1, 3]
        );
        assert_eq!(switches(&[("-", BLUE), ("./a.yaml", GREEN)]), [1]);
        assert_eq!(switches(&[("a.yaml", BLUE), ("b.yaml", NONE), ("c.yaml", BLUE)]), [2]);
        assert_eq!(switches(&[("a.yaml", BLUE), ("b.yaml", OTHER)]), [0; 0]);
        // Those of two environments, unless a namespace says that they are one.
        assert_eq!(switches(&[("dev/web.yaml", BLUE), ("prod/web.yaml", GREEN)]), [0; 0]);
        let in_shop = |text: &str| text.replace("{name", "{namespace: shop, name");
        let (blue, green) = (in_shop(BLUE), in_shop(GREEN));
        assert_eq!(switches(&[("old/web.yaml", &blue), ("new/web.yaml", &green)]), [1]);
        assert_eq!(switches(&[("a.yaml", &blue), ("b.yaml", GREEN)]), [0; 0]);
    }

    #[test]
    fn without_a_namespace_workloads_overlap_within_one_directory_only() {
        let canary = DEPLOYMENT.replace("name: web}\nspec", "name: canary}\nspec");
        let overlapping = |path: &str, namespace: &str| {
            let with = |text: &str| text.replace("metadata: {name", &format!("metadata: {{{namespace}name"));
            around(&[("a/web.yaml", with(DEPLOYMENT)), (path, with(&canary))]).overlapping
        };
        assert_eq!(overlapping("a/canary.yaml", ""), ["Deployment canary"]);
        assert!(overlapping("b/canary.yaml", "").is_empty());
        assert_eq!(overlapping("b/canary.yaml", "namespace: shop, "), ["Deployment canary"]);
    }

    #[test]
    fn the_same_application_in_another_form_overlaps_only_where_it_stands_beside_it() {
        let daemon = DEPLOYMENT.replace("kind: Deployment", "kind: DaemonSet");
        let overlapping = |path: &str| {
            let with = |text: &str| text.replace("metadata: {name", "metadata: {namespace: shop, name");
            around(&[("a/web.yaml", with(DEPLOYMENT)), (path, with(&daemon))]).overlapping
        };
        assert_eq!(overlapping("a/daemon.yaml"), ["DaemonSet web"]);
        assert!(overlapping("b/daemon.yaml").is_empty());
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_else() {
        let broken = format!("{{: :\n---\n{}", service(1));
        assert_eq!(targets(&[("web.yaml", DEPLOYMENT.to_owned()), ("service.yaml", broken)]), [number(1)]);
    }
}
