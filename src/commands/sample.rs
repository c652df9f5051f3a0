//! Reviews for trying out webhooks.

/// Asks, as a dry run, about a Deployment that nobody should roll out.
pub const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"try-it","kind":{"group":"apps","version":"v1","kind":"Deployment"},"namespace":"default","name":"web","operation":"CREATE","dryRun":true,"object":{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":2,"revisionHistoryLimit":0,"strategy":{"type":"Recreate"},"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"registry.example/web:1.0","ports":[{"containerPort":8080}]}]}}}}}}"#;

/// Asks, as a dry run, about a Service that selects other pods from now on.
pub const SERVICE_REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"try-it","kind":{"group":"","version":"v1","kind":"Service"},"namespace":"default","name":"web","operation":"UPDATE","dryRun":true,"object":{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web","track":"green"}}},"oldObject":{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web","track":"blue"}}}}}"#;
