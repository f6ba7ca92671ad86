//! The audit log's keys.

use std::path::PathBuf;

use super::keys::Owner;
use super::settings::Settings;

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// `doorkeeper.audit.file`; `None` is standard error.
    pub file: Option<PathBuf>,
}

impl AuditConfig {
    /// The typed values; `None` where no audit log is asked for.
    pub(super) fn from_settings(settings: &mut Settings) -> Option<Self> {
        const CLASS: &str = "audit.impl.class";
        let enabled = settings.flag(Owner::Coordinator, "audit.enable");
        let file = settings.text(Owner::Process, "doorkeeper.audit.file");
        let class = settings.text(Owner::Coordinator, CLASS).unwrap_or_default();
        let known = ["Slf4jAuditLogger", "Log4jAuditLogger"];
        if !class
            .strip_prefix("org.apache.zookeeper.audit.")
            .is_some_and(|class| known.contains(&class))
        {
            settings.problem(
                CLASS,
                "doorkeeper has no such logger: it writes the lines of \
                 org.apache.zookeeper.audit.Slf4jAuditLogger",
            );
        }
        let file = file.filter(|file| !file.is_empty()).map(PathBuf::from);
        if file.is_some() && !enabled {
            settings.warnings.push(
                "doorkeeper.audit.file names a file, but without audit.enable=true nothing is \
                 written to it"
                    .to_owned(),
            );
        }
        enabled.then_some(AuditConfig { file })
    }
}
