//! stub until the branch lands
#![allow(missing_docs)]
use std::io::Write as _;
pub enum Out {
    Stdout,
    Stderr,
}
#[derive(Clone, Copy, Debug)]
pub enum Format {
    Auto,
    Human,
    Json,
    Journald,
}
impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Ok(match s {
            "auto" => Format::Auto,
            "human" => Format::Human,
            "json" => Format::Json,
            "journald" => Format::Journald,
            _ => return Err("no".into()),
        })
    }
}
struct L(Out);
struct Kv(String);
impl<'k> log::kv::VisitSource<'k> for Kv {
    fn visit_pair(&mut self, k: log::kv::Key<'k>, v: log::kv::Value<'k>) -> Result<(), log::kv::Error> {
        self.0.push_str(&format!(" {k}={v}"));
        Ok(())
    }
}
impl log::Log for L {
    fn enabled(&self, m: &log::Metadata) -> bool {
        m.target().starts_with("dtmfd") || m.level() <= log::Level::Warn
    }
    fn log(&self, r: &log::Record) {
        if !self.enabled(r.metadata()) {
            return;
        }
        let mut kv = Kv(String::new());
        let _ = r.key_values().visit(&mut kv);
        let line = format!("{} {}{}\n", r.level(), r.args(), kv.0);
        match self.0 {
            Out::Stdout => {
                let _ = std::io::stdout().write_all(line.as_bytes());
            }
            Out::Stderr => {
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
    }
    fn flush(&self) {}
}
pub fn init(level: log::LevelFilter, _f: Format, out: Out) {
    log::set_boxed_logger(Box::new(L(out))).ok();
    log::set_max_level(level);
}
