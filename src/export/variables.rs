//! The variables of a policy: what an expression may call by name.
//!
//! Those about an object come twice, for the new one and for the one as it was: `serves`
//! and `oldServes`. The API server computes a variable when it is first asked for, and once.

use std::fmt::Write;
use std::iter;

use crate::defaults;
use crate::kubernetes::api_default::GRACE_PERIOD_SECONDS;
use crate::rules::{RULES, Rule};

/// A name and an expression.
pub type Variable = (String, String);

/// Which of the two objects of an update an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    New,
    Old,
}

/// About one object, in an order in which each knows those before it.
///
/// `dyn` keeps the API server from looking for fields that only another kind has.
const OF_AN_OBJECT: [(&str, &str); 18] = [
    ("spec", "dyn({object}).spec"),
    ("template", "{spec}.template"),
    ("pod", "{template}.spec"),
    ("containers", "{pod}.containers"),
    ("initContainers", "{pod}.?initContainers.orValue([])"),
    ("longRunning", "{containers} + {initContainers}.filter(c, c.?restartPolicy.orValue('') == 'Always')"),
    ("annotations", "dyn({object}).metadata.?annotations.orValue({})"),
    ("record", "{annotations}[?'gapless.dev/injected'].orValue('')"),
    ("replicas", "{spec}.?replicas.orValue(1)"),
    // The API server takes negative seconds for 1.
    (
        "graceSeconds",
        "{pod}.?terminationGracePeriodSeconds.orValue(30) < 0 ? 1 : {pod}.?terminationGracePeriodSeconds.orValue(30)",
    ),
    ("maxUnavailable", "{spec}.?strategy.?rollingUpdate.?maxUnavailable.orValue('25%')"),
    ("maxSurge", "{spec}.?strategy.?rollingUpdate.?maxSurge.orValue('25%')"),
    (
        "unavailable",
        "type({maxUnavailable}) == string
  ? int({maxUnavailable}.replace('%', '')) * {replicas} / 100
  : {maxUnavailable}",
    ),
    ("surgeIsZero", "type({maxSurge}) == string ? {maxSurge}.matches('^0*%$') : {maxSurge} == 0"),
    ("maxUnavailableIsRecorded", ""),
    ("maxSurgeIsRecorded", ""),
    ("minReadyIsRecorded", ""),
    ("serves", ""),
];

/// The keys and the live values of what the record may say outside the template.
const RECORDED: [(&str, &str, &str); 3] = [
    ("maxUnavailableIsRecorded", "spec.strategy.rollingUpdate.maxUnavailable", "{maxUnavailable}"),
    ("maxSurgeIsRecorded", "spec.strategy.rollingUpdate.maxSurge", "{maxSurge}"),
    ("minReadyIsRecorded", "spec.minReadySeconds", "{spec}.?minReadySeconds.orValue(0)"),
];

/// All variables of every policy but those that the profile sets, in an order in which each
/// knows those before it.
pub fn all() -> Vec<Variable> {
    let own = |(name, expression): (&str, String)| (name.to_owned(), on_side(Side::New, &expression));
    let mut variables = Vec::new();
    variables.extend([("isUpdate", "request.operation == 'UPDATE'".to_owned())].map(own));
    for side in [Side::New, Side::Old] {
        let of_side = OF_AN_OBJECT.iter().map(|(name, expression)| {
            let expression = match *name {
                "serves" => serves(),
                _ if expression.is_empty() => is_recorded(name),
                _ => (*expression).to_owned(),
            };
            (named(side, name), on_side(side, &expression))
        });
        variables.extend(of_side);
    }
    let of_request = [
        ("surgeIsBlocked", surge_is_blocked()),
        ("leaderFlags", leader_flags()),
        ("asksForLeaderElection", asks_for_leader_election()),
        ("asksForIstio", ASKS_FOR_ISTIO.to_owned()),
        ("replicasAreProven", REPLICAS_ARE_PROVEN.to_owned()),
        ("raisedGraceSeconds", raised_grace_seconds()),
        ("recordedGraceSeconds", recorded_grace_seconds()),
        ("longestGraceSeconds", longest_grace_seconds()),
        ("days", DAYS.to_owned()),
        ("waived", waived()),
        ("isUndo", is_undo()),
        ("sameStrategy", SAME_STRATEGY.to_owned()),
        ("sameTemplate", same_template()),
        ("changesOnlyTemplate", changes_only("k == 'template'")),
        ("isScale", changes_only("k in ['replicas', 'paused'] || k == 'template' && variables.sameTemplate")),
    ];
    variables.extend(of_request.map(own));
    variables.extend(rules().flat_map(of_rule));
    variables.extend([("findings", findings())].map(own));
    variables
}

/// The rules that an API server can judge by itself.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| rule.cel.is_some())
}

/// Puts the names of one side in the place of those in braces.
fn on_side(side: Side, expression: &str) -> String {
    let object = if side == Side::New { "object" } else { "oldObject" };
    let expression = expression.replace("{object}", object);
    OF_AN_OBJECT.iter().fold(expression, |expression, (name, _)| {
        expression.replace(&format!("{{{name}}}"), &format!("variables.{}", named(side, name)))
    })
}

fn named(side: Side, name: &str) -> String {
    match side {
        Side::New => name.to_owned(),
        Side::Old => {
            let (first, rest) = name.split_at_checked(1).unwrap_or_default();
            format!("old{}{rest}", first.to_ascii_uppercase())
        }
    }
}

/// Whether the record says of a field what it is now. It is compact JSON.
fn is_recorded(name: &str) -> String {
    let Some((_, key, live)) = RECORDED.iter().find(|(recorded, ..)| *recorded == name) else {
        return String::new();
    };
    let json = format!("(type({live}) == string ? '\"' + string({live}) + '\"' : string({live}))");
    let entry = |end: &str| format!("{{record}}.contains('\"{key}\":' + {json} + '{end}')");
    format!("{} || {}", entry(","), entry("}"))
}

/// Whether the name of a port says that it is there for operations.
fn is_operational(name: &str) -> String {
    format!(
        "({name} in variables.operationalPortNames\n      \
         || {name}.split('-').exists(word, word in variables.operationalPortNames))"
    )
}

fn serves() -> String {
    let declared = is_operational("p.?name.orValue('')");
    let asked = is_operational("port");
    format!(
        "{{containers}}.exists(c,
  !(c.name in ['istio-proxy', 'linkerd-proxy'])
  && !c.image.matches(r'^([^@]*/)?[^/:@]*kube-rbac-proxy[^/:@]*(:[^@]*)?(@.*)?$')
  && (c.?ports.orValue([]).exists(p, p.?protocol.orValue('TCP') == 'TCP'
    && !{declared})
  || has(c.readinessProbe)
    && c.readinessProbe.?httpGet.?host.or(c.readinessProbe.?tcpSocket.?host).orValue('') == ''
    && [c.readinessProbe.?httpGet.?port.or(c.readinessProbe.?tcpSocket.?port)
        .or(c.readinessProbe.?grpc.?port).orValue(0)].exists(port,
      port != 0 && (type(port) == string
        ? !{asked}
        : !c.?ports.orValue([]).exists(p, p.containerPort == port && {declared})))))"
    )
}

/// Whether a second generation of pods can perhaps not run beside the first: as
/// `workload::scheduling` has it, where nothing is known of claims.
fn surge_is_blocked() -> String {
    let disks = [
        "persistentVolumeClaim",
        "ephemeral",
        "awsElasticBlockStore",
        "azureDisk",
        "cinder",
        "fc",
        "gcePersistentDisk",
        "iscsi",
        "rbd",
        "vsphereVolume",
    ];
    let disks = disks.map(|disk| format!("has(v.{disk})")).join(" || ");
    let devices = |list: &str| {
        format!(
            "c.?resources.?{list}.orValue({{}}).exists(name,\n      \
             name.contains('/') && string(c.resources.{list}[name]) != '0')"
        )
    };
    format!(
        "{{longRunning}}.exists(c, c.?ports.orValue([]).exists(p,
    p.?hostPort.orValue(0) > 0 || {{pod}}.?hostNetwork.orValue(false)))
|| ({{containers}} + {{initContainers}}).exists(c, {}
    || {})
|| {{pod}}.?resourceClaims.orValue([]).size() > 0
|| {{pod}}.?volumes.orValue([]).exists(v, {disks})
|| {{pod}}.?affinity.?podAntiAffinity.?requiredDuringSchedulingIgnoredDuringExecution.orValue([]).exists(term,
    term.topologyKey == 'kubernetes.io/hostname'
    && !('pod-template-hash' in term.?matchLabelKeys.orValue([]))
    && has(term.labelSelector)
    && term.labelSelector.?matchLabels.orValue({{}}).all(key,
      {LABELS}[?key].orValue('') == term.labelSelector.matchLabels[key] && key in {LABELS})
    && term.labelSelector.?matchExpressions.orValue([]).all(e,
      e.operator in ['Exists', 'DoesNotExist']
      ? (e.key in {LABELS}) == (e.operator == 'Exists')
      : (e.key in {LABELS} && {LABELS}[e.key] in e.values) == (e.operator == 'In')))",
        devices("limits"),
        devices("requests"),
    )
}

/// The labels of the pods.
const LABELS: &str = "{template}.metadata.?labels.orValue({})";

const LEADER_SWITCH: &str = "^-+(leader-elect|enable-leader-election|leader-election)(=.*)?$";

/// The words of commands and arguments that may ask for leader election.
fn leader_flags() -> String {
    "{containers}.map(c, (c.?command.orValue([]) + c.?args.orValue([])).filter(text, text.contains('leader'))
  .map(text, text.replace('\\n', ' ').replace('\\t', ' ').split(' ').filter(word, word.startsWith('-'))))"
        .to_owned()
}

/// Any switch of a container that is on counts; where it has no switch, whatever begins like one.
fn asks_for_leader_election() -> String {
    let any = |condition: &str| format!("texts.exists(words, words.exists(word,\n    {condition}))");
    let is_switch = format!("word.matches(r'{LEADER_SWITCH}')");
    let on = any(&format!("{is_switch} && !word.lowerAscii().matches(r'^-+[^=]*=(false|f|0)$')"));
    let begins = any("word.matches(r'^-+(leader-elect|enable-leader-election)')");
    format!("variables.leaderFlags.exists(texts, {on}\n  || !{}\n  && {begins})", any(&is_switch))
}

const ASKS_FOR_ISTIO: &str = "\
['sidecar.istio.io/inject', 'inject.istio.io/templates', 'istio.io/rev'].exists(key,
  !({template}.metadata.?labels[?key].or({template}.metadata.?annotations[?key]).orValue('') in ['', 'false']))
&& {template}.metadata.?labels[?'sidecar.istio.io/inject']
  .or({template}.metadata.?annotations[?'sidecar.istio.io/inject']).orValue('') != 'false'";

/// Somebody wrote `replicas`: an `Apply` entry owns it, or the manifest of last-applied, whose
/// fields are sorted, has it.
const REPLICAS_ARE_PROVEN: &str = "\
dyn(object).metadata.?managedFields.orValue([]).exists(e, e.?operation.orValue('') == 'Apply'
  && e.?fieldsV1[?'f:spec'][?'f:replicas'].hasValue())
|| {annotations}[?'kubectl.kubernetes.io/last-applied-configuration'].orValue('').matches(
  r'\"spec\":\\{(\"minReadySeconds\":[0-9]+,)?(\"paused\":(true|false),)?(\"progressDeadlineSeconds\":[0-9]+,)?\"replicas\":[0-9]')";

/// The grace period with which a sleep in another container leaves the object, where the
/// API server's default is the user's word.
fn raised_grace_seconds() -> String {
    format!(
        "variables.addedGraceSeconds > 0
  && {{containers}}.exists(c, !has(c.lifecycle) || !has(c.lifecycle.preStop))
? ('gapless.dev/pre-stop-seconds' in {{annotations}} ? 2000000000 : {GRACE_PERIOD_SECONDS} + variables.addedGraceSeconds)
: {GRACE_PERIOD_SECONDS}"
    )
}

/// One that was recorded and is put back.
fn recorded_grace_seconds() -> String {
    format!(
        "variables.isUpdate && ({{record}} + variables.oldRecord)
  .contains('\"spec.template.spec.terminationGracePeriodSeconds\":')
? variables.oldGraceSeconds
: {GRACE_PERIOD_SECONDS}"
    )
}

/// The grace period that the object has once gapless has completed it, or a longer one.
fn longest_grace_seconds() -> String {
    format!(
        "{{graceSeconds}} != {GRACE_PERIOD_SECONDS} ? {{graceSeconds}}
: variables.raisedGraceSeconds > variables.recordedGraceSeconds
? variables.raisedGraceSeconds
: variables.recordedGraceSeconds"
    )
}

/// The days (UTC) on which the object was written: the newest is the request's.
const DAYS: &str = "\
([dyn(object).metadata.?creationTimestamp.orValue('')]
  + dyn(object).metadata.?managedFields.orValue([]).map(e, e.?time.orValue('')))
  .filter(time, type(time) == string && time != '').map(time, time.substring(0, 10))";

/// The rules that an annotation of the workload, or of its template, waives with a reason
/// that has not expired.
fn waived() -> String {
    const DATE: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
    let of = |annotations: &str| {
        format!(
            "{annotations}.filter(key, key.startsWith('gapless.dev/waive.')
    && {annotations}[key].trim() != ''
    && ![{annotations}[key].find(r'(?i)(^|\\s)until\\s+[^0-9\\s]*{DATE}[^0-9\\s]*(\\s|$)')
        .find(r'{DATE}')].exists(until, until != '' && variables.days.exists(day, day > until)))
    .map(key, key.replace('gapless.dev/waive.', ''))"
        )
    };
    format!(
        "!variables.honoursWaivers ? []
: {}
+ {}",
        of("{annotations}"),
        of("{template}.metadata.?annotations.orValue({})")
    )
}

/// `kubectl rollout undo`, recognised as `admission::rollback` does.
fn is_undo() -> String {
    let by_kubectl = |entry: &str| {
        format!(
            "{entry}.?operation.orValue('') == 'Update' && {entry}.?subresource.orValue('') == '' && has({entry}.time)
    && {entry}.?manager.orValue('').matches(r'^(kubectl|oc)([.]|.*[0-9]|$)')
    && !{entry}.?manager.orValue('').startsWith('kubectl-argo-rollouts')"
        )
    };
    format!(
        "variables.isUpdate && dyn(request).?options.?fieldManager.orValue('') == ''
&& {{template}} != variables.oldTemplate
&& dyn(object).metadata.?managedFields.orValue([]).exists(e, {}
    && dyn(oldObject).metadata.?managedFields.orValue([]).all(o, !({})
      || o.time <= e.time))",
        by_kubectl("e"),
        by_kubectl("o")
    )
}

/// Whether the strategies are the same but for amounts that are gapless' or the API server's
/// on both sides.
const SAME_STRATEGY: &str = "\
{spec}.?strategy.?type == variables.oldSpec.?strategy.?type
&& ({maxUnavailable} == variables.oldMaxUnavailable
  || ({maxUnavailableIsRecorded} || {maxUnavailable} == '25%')
    && (variables.oldMaxUnavailableIsRecorded || variables.oldMaxUnavailable == '25%'))
&& ({maxSurge} == variables.oldMaxSurge
  || ({maxSurgeIsRecorded} || {maxSurge} == '25%')
    && (variables.oldMaxSurgeIsRecorded || variables.oldMaxSurge == '25%'))";

/// Whether all fields of two maps are the same, but for those `k` for which `or` holds.
fn same(new: &str, old: &str, or: &str) -> String {
    format!("[{new}, {old}].all(map, map.all(k, {new}[?k] == {old}[?k]\n    || {or}))")
}

/// Whether the templates are the same but for what a record of either object names.
fn same_template() -> String {
    let is_named = |key: &str| format!("({{record}} + variables.oldRecord).contains({key})");
    let metadata = same(
        "{template}.metadata",
        "variables.oldTemplate.metadata",
        &format!(
            "k == 'labels' && {}",
            same(
                LABELS,
                &LABELS.replace("{template}", "variables.oldTemplate"),
                &is_named("'\"spec.template.metadata.labels[' + k + ']\"'")
            )
        ),
    );
    let pod = same(
        "{pod}",
        "variables.oldPod",
        &format!(
            "k == 'containers' || k == 'terminationGracePeriodSeconds' && {}",
            is_named("'\"spec.template.spec.terminationGracePeriodSeconds\"'")
        ),
    );
    let of_container =
        |field: &str| is_named(&format!("'\"spec.template.spec.containers[' + c.name + '].{field}\"'"));
    let container = same(
        "c",
        "o",
        &format!(
            "k == 'readinessProbe' && {}\n    || k == 'lifecycle' && c.?lifecycle.?postStart == o.?lifecycle.?postStart && {}",
            of_container("readinessProbe"),
            of_container("lifecycle.preStop")
        ),
    );
    format!(
        "{{template}} == variables.oldTemplate
|| ({{record}} + variables.oldRecord).contains('\"spec.template.')
  && {metadata}
  && {pod}
  && {{containers}}.size() == variables.oldContainers.size()
  && {{containers}}.all(c, variables.oldContainers.exists(o, o.name == c.name && {container}))"
    )
}

/// Whether nothing else in the spec changes than the fields `k` for which this holds, and
/// what a record names.
fn changes_only(what: &str) -> String {
    let ours = "({minReadyIsRecorded} || {spec}.?minReadySeconds.orValue(0) == 0)\n      \
                && (variables.oldMinReadyIsRecorded || variables.oldSpec.?minReadySeconds.orValue(0) == 0)";
    let or = format!(
        "{what}\n    || k == 'strategy' && variables.sameStrategy\n    || k == 'minReadySeconds' && {ours}"
    );
    same("{spec}", "variables.oldSpec", &or)
}

/// What one rule finds that is new, and what it found in the old object.
fn of_rule(rule: &Rule) -> Vec<Variable> {
    let Some(cel) = &rule.cel else { return Vec::new() };
    let name = camel_case(rule.id);
    let before = named(Side::Old, &name);
    let waiving = iter::once(rule.id).chain(defaults::satisfying(rule.id).map(|default| default.id));
    let waived: Vec<String> = waiving.map(|id| format!("'{id}' in variables.waived")).collect();
    // An undo brings back what is in the template.
    let new = format!(
        "'{id}' in variables.denies && !({waived})
? ({finds})
  .filter(field, !variables.isUpdate
    || !(field in variables.{before} || field.startsWith('spec.template.') && variables.isUndo))
: []",
        id = rule.id,
        waived = waived.join(" || "),
        finds = (cel.finds)()
    );
    vec![(before, on_side(Side::Old, &cel.before())), (name, on_side(Side::New, &new))]
}

/// One text for each rule that found something new, unless the request repairs something.
fn findings() -> String {
    let mut texts = String::new();
    let mut counts = Vec::new();
    for rule in rules() {
        let Some(cel) = &rule.cel else { continue };
        let fields = format!("variables.{}", camel_case(rule.id));
        counts.push(format!("{fields}.size()"));
        // Writing to a String cannot fail.
        let _ = write!(
            texts,
            "\n  + ({fields}.size() == 0 ? [] : [{} + ': {} ({}), fix: {}'])",
            listed(&fields),
            cel.message,
            rule.id,
            cel.fix
        );
    }
    format!(
        "{} == 0
  || variables.isUpdate && (variables.isScale || variables.isUndo && variables.changesOnlyTemplate)
? []
: {}",
        counts.join(" + "),
        texts.trim_start_matches("\n  + ")
    )
}

/// The most characters of the fields of one rule. Ten rules and what they say then stay
/// below the 5 KiB from which an API server shows nothing of a message.
const MOST_OF_FIELDS: usize = 200;

/// The fields of a rule in one line, or the first of them and how many there are.
fn listed(fields: &str) -> String {
    let all = format!("{fields}.join(', ')");
    format!(
        "({all}.size() <= {MOST_OF_FIELDS} ? {all}\n    \
         : {all}.substring(0, {MOST_OF_FIELDS}) + '... (' + string({fields}.size()) + ' fields)')"
    )
}

/// `recreate-strategy` as `recreateStrategy`: a variable has no dash in its name.
fn camel_case(id: &str) -> String {
    let mut words = id.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at_checked(1).unwrap_or_default();
        name + &initial.to_ascii_uppercase() + rest
    })
}
