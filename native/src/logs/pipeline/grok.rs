//! Grok patterns, `%{IPORHOST:client} %{NUMBER:bytes:int}`, to regular expressions. The names are
//! those that are usual; what they stand for is written for an engine of linear time.

use super::rules::Kind;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Of a pattern with all that it names.
const MAX_PATTERN_BYTES: usize = 32 << 10;
const MAX_DEPTH: usize = 16;

const BUILT_IN: [(&str, &str); 76] = [
    ("USERNAME", r"[a-zA-Z0-9._-]+"),
    ("USER", r"%{USERNAME}"),
    ("EMAILLOCALPART", r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]+"),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("INT", r"[+-]?[0-9]+"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("NUMBER", r"%{BASE10NUM}(?:[eE][+-]?[0-9]+)?"),
    ("BASE16NUM", r"[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)"),
    ("POSINT", r"[1-9][0-9]*"),
    ("NONNEGINT", r"[0-9]+"),
    ("WORD", r"\b\w+\b"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", r".*?"),
    ("GREEDYDATA", r".*"),
    ("GREEDYMULTILINE", r"(?s:.*)"),
    ("QUOTEDSTRING", r#""(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*'|`(?:\\.|[^\\`])*`"#),
    ("QS", r"%{QUOTEDSTRING}"),
    ("UUID", r"[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}"),
    ("URN", r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:[0-9a-zA-Z()+,.:=@;$_!*'/?#%-]+"),
    ("MAC", r"%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC}"),
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("WINDOWSMAC", r"(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("COMMONMAC", r"(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    ("IPV6", r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:%{IPV4}|[0-9A-Fa-f]{0,4})(?:%[0-9A-Za-z]+)?"),
    (
        "IPV4",
        r"(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})",
    ),
    ("IP", r"%{IPV6}|%{IPV4}"),
    (
        "HOSTNAME",
        r"[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?(?:\.[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?)*\.?",
    ),
    ("HOST", r"%{HOSTNAME}"),
    ("IPORHOST", r"%{IP}|%{HOSTNAME}"),
    ("HOSTPORT", r"(?:%{IPORHOST}):%{POSINT}"),
    ("PATH", r"%{UNIXPATH}|%{WINPATH}"),
    ("UNIXPATH", r"(?:/[^\s/]*)+"),
    ("WINPATH", r"(?:[A-Za-z]:|\\)(?:\\[^\\?*]*)+"),
    ("TTY", r"/dev/(?:pts|tty[pq]?)\w*/?[0-9]*"),
    ("URIPROTO", r"[A-Za-z][A-Za-z0-9+.-]*"),
    ("URIHOST", r"(?:%{IPORHOST})(?::%{POSINT})?"),
    ("URIPATH", r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+"),
    ("URIPARAM", r"\?[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*"),
    ("URIPATHPARAM", r"%{URIPATH}(?:%{URIPARAM})?"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@\s]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
    (
        "MONTH",
        r"\b(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)\b",
    ),
    ("MONTHNUM", r"0?[1-9]|1[0-2]"),
    ("MONTHNUM2", r"0[1-9]|1[0-2]"),
    ("MONTHDAY", r"(?:0[1-9]|[12][0-9]|3[01]|[1-9])"),
    (
        "DAY",
        r"(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)",
    ),
    ("YEAR", r"(?:[0-9]{2}){1,2}"),
    ("HOUR", r"(?:2[0123]|[01]?[0-9])"),
    ("MINUTE", r"[0-5][0-9]"),
    ("SECOND", r"(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?"),
    ("TIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("DATE_US", r"(?:%{MONTHNUM})[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", r"%{MONTHDAY}[./-](?:%{MONTHNUM})[./-]%{YEAR}"),
    ("ISO8601_TIMEZONE", r"Z|[+-]%{HOUR}(?::?%{MINUTE})"),
    ("ISO8601_SECOND", r"%{SECOND}"),
    (
        "TIMESTAMP_ISO8601",
        r"%{YEAR}-(?:%{MONTHNUM})-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?",
    ),
    ("DATE", r"%{DATE_US}|%{DATE_EU}"),
    ("DATESTAMP", r"(?:%{DATE})[- ]%{TIME}"),
    ("TZ", r"[A-Z]{3,4}"),
    ("DATESTAMP_RFC822", r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATESTAMP_RFC2822", r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} (?:%{ISO8601_TIMEZONE})"),
    ("DATESTAMP_OTHER", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}"),
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("PROG", r"[\x21-\x5a\x5c\x5e-\x7e]+"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid}\])?"),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGFACILITY", r"<%{NONNEGINT:facility}.%{NONNEGINT:priority}>"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("HTTPDUSER", r"%{EMAILADDRESS}|%{USER}"),
    (
        "SYSLOGBASE",
        r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:",
    ),
    (
        "COMMONAPACHELOG",
        r#"%{IPORHOST:clientip} %{NOTSPACE:ident} %{NOTSPACE:auth} \[%{HTTPDATE:timestamp}\] "(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" %{INT:response:int} (?:%{INT:bytes:int}|-)"#,
    ),
    ("HTTPD_COMMONLOG", r"%{COMMONAPACHELOG}"),
    ("COMBINEDAPACHELOG", r"%{COMMONAPACHELOG} %{QS:referrer} %{QS:agent}"),
    ("HTTPD_COMBINEDLOG", r"%{COMBINEDAPACHELOG}"),
    (
        "LOGLEVEL",
        r"(?i:alert|trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe|emerg(?:ency)?)",
    ),
];

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrokError {
    #[error("there is no grok pattern {0:?}")]
    Unknown(String),
    #[error("the grok pattern is too large, or names itself")]
    TooLarge,
    #[error("there is no type {0:?}: expected int or float")]
    Type(String),
    #[error("a %{{ has no }}")]
    Open,
}

/// A regular expression; of its groups called `g0`, `g1`, …, the n-th is the n-th field.
#[derive(Debug, Default)]
pub struct Grok {
    pub regex: String,
    pub fields: Vec<(String, Kind)>,
}

/// Translates a pattern; `own` has patterns beside those that are built in.
///
/// # Errors
/// It names what is not there, or becomes too large.
pub fn translate(pattern: &str, own: &HashMap<String, String>) -> Result<Grok, GrokError> {
    let mut grok = Grok::default();
    grok.expand(pattern, own, 0)?;
    Ok(grok)
}

impl Grok {
    fn expand(
        &mut self,
        pattern: &str,
        own: &HashMap<String, String>,
        depth: usize,
    ) -> Result<(), GrokError> {
        if depth > MAX_DEPTH {
            return Err(GrokError::TooLarge);
        }
        let mut rest = pattern;
        while let Some(at) = rest.find("%{") {
            self.push(&rest[..at])?;
            let inner = &rest[at + 2..];
            let close = inner.find('}').ok_or(GrokError::Open)?;
            let mut parts = inner[..close].split(':');
            let name = parts.next().unwrap_or_default();
            let field = parts.next().filter(|field| !field.is_empty());
            let kind = match parts.next() {
                None | Some("string") => Kind::Text,
                Some("int" | "long") => Kind::Int,
                Some("float" | "double") => Kind::Double,
                Some(other) => return Err(GrokError::Type(other.to_owned())),
            };
            let built_in = || BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, p)| *p);
            let named = own.get(name).map(String::as_str).or_else(built_in);
            let named = named.ok_or_else(|| GrokError::Unknown(name.to_owned()))?;
            match field {
                None => self.push("(?:")?,
                Some(field) => {
                    let _ = write!(self.regex, "(?P<g{}>", self.fields.len());
                    self.fields.push((field.to_owned(), kind));
                }
            }
            self.expand(named, own, depth + 1)?;
            self.push(")")?;
            rest = &inner[close + 1..];
        }
        self.push(rest)
    }

    fn push(&mut self, text: &str) -> Result<(), GrokError> {
        if self.regex.len() + text.len() > MAX_PATTERN_BYTES {
            return Err(GrokError::TooLarge);
        }
        self.regex.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::compile;
    use super::*;

    #[test]
    fn every_pattern_is_a_regular_expression() {
        for (name, _) in BUILT_IN {
            let grok = translate(&format!("%{{{name}}}"), &HashMap::new()).expect(name);
            compile(&grok.regex).expect(name);
        }
    }

    #[test]
    fn fields_come_out_by_name() {
        let grok = translate("%{IP:client} %{WORD:verb} %{NUMBER:took:float}s", &HashMap::new());
        let grok = grok.expect("a pattern");
        let regex = compile(&grok.regex).expect("a regular expression");
        let found = regex.captures("10.0.0.1 GET 0.5s").expect("a match");
        let names: Vec<&str> = grok.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["client", "verb", "took"]);
        assert_eq!(["g0", "g1", "g2"].map(|g| &found[g]), ["10.0.0.1", "GET", "0.5"]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let own = HashMap::from([
            ("A".to_owned(), "%{B}%{B}".to_owned()),
            ("B".to_owned(), "%{A}".to_owned()),
        ]);
        let error = |pattern: &str| translate(pattern, &own).expect_err("an error");
        assert_eq!(error("%{NOPE:x}"), GrokError::Unknown("NOPE".to_owned()));
        assert_eq!(error("%{A}"), GrokError::TooLarge);
        assert_eq!(error("%{INT:x:date}"), GrokError::Type("date".to_owned()));
        assert_eq!(error("%{INT"), GrokError::Open);
    }
}
