//! The record of what gapless injected: the annotation `gapless.dev/injected`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::parts::same_value;
use crate::field::{FieldPath, Segment};
use crate::kubernetes::api_default;
use crate::kubernetes::kind::RollingBlock;
use crate::kubernetes::object::at;

/// The annotation that holds the record.
pub const ANNOTATION: &str = "gapless.dev/injected";

const MAX_UNAVAILABLE: &str = "maxUnavailable";
const MAX_SURGE: &str = "maxSurge";
const MIN_READY_SECONDS: &str = "spec.minReadySeconds";
const LABELS: &str = "metadata.labels";
const TEMPLATE_LABELS: &str = "spec.template.metadata.labels";
const GRACE_PERIOD: &str = "spec.template.spec.terminationGracePeriodSeconds";
const CONTAINERS: &str = "spec.template.spec.containers";
const READINESS_PROBE: &str = "readinessProbe";
const PRE_STOP: &str = "lifecycle.preStop";

/// A field that gapless may inject, in the order in which messages name them.
/// There are no others, so that no annotation can make it change anything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InjectedField {
    /// `maxUnavailable`, such as `spec.strategy.rollingUpdate.maxUnavailable`
    MaxUnavailable(RollingBlock),
    /// `maxSurge`
    MaxSurge(RollingBlock),
    /// `spec.minReadySeconds`
    MinReadySeconds,
    /// A label of the workload itself.
    Label(String),
    /// A label of the pod template.
    TemplateLabel(String),
    /// `readinessProbe` of the container of this name.
    ReadinessProbe(String),
    /// `lifecycle.preStop` of the container of this name.
    PreStop(String),
    /// `spec.template.spec.terminationGracePeriodSeconds`
    GracePeriod,
}

impl InjectedField {
    /// Where the field is.
    pub fn path(&self) -> FieldPath {
        match self {
            InjectedField::MaxUnavailable(block) => FieldPath::new(block.path()).field(MAX_UNAVAILABLE),
            InjectedField::MaxSurge(block) => FieldPath::new(block.path()).field(MAX_SURGE),
            InjectedField::MinReadySeconds => FieldPath::new(MIN_READY_SECONDS),
            InjectedField::Label(key) => FieldPath::new(LABELS).key(key),
            InjectedField::TemplateLabel(key) => FieldPath::new(TEMPLATE_LABELS).key(key),
            InjectedField::GracePeriod => FieldPath::new(GRACE_PERIOD),
            InjectedField::ReadinessProbe(container) => {
                FieldPath::container(container).field(READINESS_PROBE)
            }
            InjectedField::PreStop(container) => FieldPath::container(container).field(PRE_STOP),
        }
    }

    /// The path as text: the key of the field's entry.
    fn to_key(&self) -> String {
        match self {
            InjectedField::MaxUnavailable(block) => [block.path(), ".", MAX_UNAVAILABLE].concat(),
            InjectedField::MaxSurge(block) => [block.path(), ".", MAX_SURGE].concat(),
            InjectedField::MinReadySeconds => MIN_READY_SECONDS.to_owned(),
            InjectedField::GracePeriod => GRACE_PERIOD.to_owned(),
            InjectedField::Label(key) => [LABELS, "[", key, "]"].concat(),
            InjectedField::TemplateLabel(key) => [TEMPLATE_LABELS, "[", key, "]"].concat(),
            InjectedField::ReadinessProbe(name) => [CONTAINERS, "[", name, "].", READINESS_PROBE].concat(),
            InjectedField::PreStop(name) => [CONTAINERS, "[", name, "].", PRE_STOP].concat(),
        }
    }

    /// The field of such a key.
    fn parse(path: &str) -> Option<Self> {
        match path {
            MIN_READY_SECONDS => return Some(InjectedField::MinReadySeconds),
            GRACE_PERIOD => return Some(InjectedField::GracePeriod),
            _ => {}
        }
        if let Some((block, amount)) = path.rsplit_once('.')
            && let Some(block) = RollingBlock::ALL.into_iter().find(|it| it.path() == block)
        {
            return match amount {
                MAX_UNAVAILABLE => Some(InjectedField::MaxUnavailable(block)),
                MAX_SURGE => Some(InjectedField::MaxSurge(block)),
                _ => None,
            };
        }
        let (list, rest) = path.split_once('[')?;
        let (name, field) = rest.rsplit_once(']')?;
        let name = name.to_owned();
        match (list, field) {
            (LABELS, "") => Some(InjectedField::Label(name)),
            (TEMPLATE_LABELS, "") => Some(InjectedField::TemplateLabel(name)),
            (CONTAINERS, ".readinessProbe") => Some(InjectedField::ReadinessProbe(name)),
            (CONTAINERS, ".lifecycle.preStop") => Some(InjectedField::PreStop(name)),
            _ => None,
        }
    }

    /// The two amounts of a rolling update.
    pub fn amounts(block: RollingBlock) -> [Self; 2] {
        [InjectedField::MaxUnavailable(block), InjectedField::MaxSurge(block)]
    }

    /// Whether a change of this field starts a rollout.
    pub fn is_in_template(&self) -> bool {
        use InjectedField::*;
        matches!(self, TemplateLabel(_) | GracePeriod | ReadinessProbe(_) | PreStop(_))
    }

    /// The value that the API server fills in where the field is absent, or for which
    /// the controller takes an absent one.
    pub fn api_default(&self) -> Option<Value> {
        match self {
            InjectedField::MaxUnavailable(block) => Some(block.max_unavailable().into()),
            InjectedField::MaxSurge(block) => Some(block.max_surge().into()),
            InjectedField::MinReadySeconds => Some(Value::from(api_default::MIN_READY_SECONDS)),
            InjectedField::GracePeriod => Some(Value::from(api_default::GRACE_PERIOD_SECONDS)),
            _ => None,
        }
    }

    /// Whether the field is a probe or a hook, which is made of parts.
    pub fn has_parts(&self) -> bool {
        matches!(self, InjectedField::ReadinessProbe(_) | InjectedField::PreStop(_))
    }

    /// The container that the field is in.
    pub fn container(&self) -> Option<&str> {
        match self {
            InjectedField::ReadinessProbe(container) | InjectedField::PreStop(container) => Some(container),
            _ => None,
        }
    }
}

/// What gapless injected into an object, and the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<InjectedField, Value>);

/// The annotation holds something that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Record {
    /// The record of `object`; `None` if it has none.
    ///
    /// # Errors
    /// [`Unreadable`] if the annotation holds something else.
    pub fn read(object: &Value) -> Result<Option<Self>, Unreadable> {
        let annotations = at(object, &["metadata", "annotations"]);
        let Some(annotation) = annotations.and_then(|annotations| annotations.get(ANNOTATION)) else {
            return Ok(None);
        };
        Record::parse(annotation.as_str().ok_or(Unreadable)?).map(Some)
    }

    /// The record in the text of an annotation.
    ///
    /// # Errors
    /// [`Unreadable`] if it is something else.
    pub fn parse(annotation: &str) -> Result<Self, Unreadable> {
        let entries: Map<String, Value> = serde_json::from_str(annotation).map_err(|_| Unreadable)?;
        let known =
            entries.into_iter().filter_map(|(path, value)| Some((InjectedField::parse(&path)?, value)));
        Ok(Record(known.collect()))
    }

    /// The annotation's text: compact JSON, sorted by path.
    pub fn to_annotation(&self) -> String {
        let entries: BTreeMap<String, &Value> =
            self.0.iter().map(|(field, value)| (field.to_key(), value)).collect();
        // Nothing in it is without a form in JSON.
        serde_json::to_string(&entries).unwrap_or_default()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The recorded value of `field`.
    pub fn get(&self, field: &InjectedField) -> Option<&Value> {
        self.0.get(field)
    }

    /// Adds these entries.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = (InjectedField, Value)>) {
        self.0.extend(entries);
    }

    /// The recorded fields with their values.
    pub fn into_entries(self) -> impl Iterator<Item = (InjectedField, Value)> {
        self.0.into_iter()
    }

    /// Records that `field` was given `value`.
    pub fn insert(&mut self, field: InjectedField, value: Value) {
        self.0.insert(field, value);
    }

    /// Forgets `field`.
    pub fn remove(&mut self, field: &InjectedField) {
        self.0.remove(field);
    }

    /// The recorded fields with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&InjectedField, &Value)> {
        self.0.iter()
    }

    /// The recorded fields.
    pub fn fields(&self) -> impl Iterator<Item = &InjectedField> {
        self.0.keys()
    }

    /// Whether `live`, the value of `field`, is the recorded one: then it is
    /// still what gapless injected. Values that the API server fills in by
    /// itself do not count on either side.
    pub fn holds(&self, field: &InjectedField, live: Option<&Value>) -> bool {
        let recorded = self.get(field).map(ours);
        recorded.is_some_and(|recorded| live.is_some_and(|live| same_value(recorded, live)))
    }

    /// Whether `path` leads to a part of a probe in `object` that is recorded: the rest of
    /// the probe may be the user's.
    pub fn holds_part(&self, path: &FieldPath, object: &Value) -> bool {
        let [_, _, _, _, Segment::Item(container), Segment::Field(field), part @ ..] = path.segments() else {
            return false;
        };
        let entry = self.get(&InjectedField::ReadinessProbe(container.clone()));
        let Some(entry) = entry.filter(|_| field == READINESS_PROBE && !part.is_empty()) else {
            return false;
        };
        let recorded = part.iter().try_fold(entry, |value, segment| segment.find(value));
        recorded.is_some() && recorded == path.find(object)
    }
}

/// What gapless injected, of an entry that may be a [`pair`].
pub fn ours(entry: &Value) -> &Value {
    entry.as_array().and_then(|pair| pair.first()).unwrap_or(entry)
}

/// Whether an entry is a [`pair`].
pub fn is_pair(entry: &Value) -> bool {
    entry.is_array()
}

/// The entry of a grace period over which somebody proved the API server's
/// default, where it does not count yet: gapless' value and theirs.
pub fn pair(ours: &Value) -> Value {
    Value::Array(vec![ours.clone(), Value::from(api_default::GRACE_PERIOD_SECONDS)])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub fn every_field() -> Vec<InjectedField> {
        use InjectedField::*;
        let amounts = RollingBlock::ALL.into_iter().flat_map(InjectedField::amounts);
        amounts
            .chain([
                MinReadySeconds,
                Label("app.kubernetes.io/version".into()),
                TemplateLabel("version".into()),
                GracePeriod,
                ReadinessProbe("app".into()),
                PreStop("app".into()),
            ])
            .collect()
    }

    fn annotated(text: &str) -> Value {
        json!({"metadata": {"annotations": {ANNOTATION: text}}})
    }

    #[test]
    fn a_record_survives_its_annotation() {
        let mut record = Record::default();
        for (number, field) in every_field().into_iter().enumerate() {
            assert_eq!(field.to_key(), field.path().to_string());
            record.insert(field, json!({ "value": number }));
        }
        assert_eq!(Record::read(&annotated(&record.to_annotation())), Ok(Some(record)));
    }

    #[test]
    fn only_known_fields_are_read() {
        let text = r#"{"spec.replicas":0,"spec.template.spec.containers[app].image":"evil","spec.minReadySeconds":10}"#;
        let record = Record::read(&annotated(text)).unwrap().unwrap();
        assert_eq!(record.fields().collect::<Vec<_>>(), [&InjectedField::MinReadySeconds]);
        for unreadable in ["", "{", "[]", "yes"] {
            assert_eq!(Record::read(&annotated(unreadable)), Err(Unreadable));
        }
        assert_eq!(Record::read(&json!({"metadata": {"annotations": null}})), Ok(None));
    }

    #[test]
    fn a_record_holds_for_the_value_that_was_injected() {
        let mut record = Record::default();
        record.insert(InjectedField::GracePeriod, pair(&json!(40)));
        assert!(record.holds(&InjectedField::GracePeriod, Some(&json!(40))));
        assert!(!record.holds(&InjectedField::GracePeriod, Some(&json!(30))));
        assert!(!record.holds(&InjectedField::GracePeriod, None));
        assert!(!record.holds(&InjectedField::MaxSurge(RollingBlock::Strategy), Some(&json!(40))));
        assert_eq!(record.to_annotation(), r#"{"spec.template.spec.terminationGracePeriodSeconds":[40,30]}"#);
    }
}
