//! The peer as a subject: Debian's Kamailio with its own stock routing file, edited at run time
//! as the seed says (WITH_AUTH, WITH_IPAUTH, WITH_ANTIFLOOD and the seed's listings for failed
//! passwords). With it every attack scenario can be run against both servers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::listing::splice;
use super::setup::{DOMAIN, Setup, password_of};
use super::subject::{Subject, free_port};

const STOCK: &str = "/etc/kamailio/kamailio.cfg";
const SCHEMA: &str = "/usr/share/kamailio/db_sqlite";

/// The seed's second listing with the faults repaired that requirements.md names; `KEY` is the
/// user for the first listing, source and user for the second.
const LISTING: &str = r#"
	if (is_method("REGISTER") || from_uri==myself) {
		if (is_present_hf("Authorization") || is_present_hf("Proxy-Authorization")) {
			if ($sht(userban=>KEY::auth_count) >= 3) {
				$var(exp) = $Ts - SUSPEND;
				if ($sht(userban=>KEY::last_auth) > $var(exp)) {
					sl_send_reply("403", "Try later");
					exit;
				}
				$sht(userban=>KEY::auth_count) = 0;
			}
		}
		auth_check("$fd", "subscriber", "1");
		$var(rc) = $rc;
		if ($var(rc) < 0) {
			switch ($var(rc)) {
				case -1:
					sl_send_reply("403", "Forbidden");
					exit;
				case -2:
					$var(count) = $shtinc(userban=>KEY::auth_count);
					if ($var(count) >= 3) {
						xlog("auth failed 3rd time - src ip: $si\n");
					}
					$sht(userban=>KEY::last_auth) = $Ts;
				break;
			}
			auth_challenge("$fd", "0");
			exit;
		}
		$sht(userban=>KEY::auth_count) = 0;
"#;

/// Starts Kamailio as set up; keys that it has no match for are left out.
pub fn start(setup: &Setup) -> Subject {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cfg = folder.path().join("kamailio.cfg");
    make_database(folder.path(), setup);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let args = ["-DD", "-E", "-f", &path("kamailio.cfg"), "-P", &path("pid"), "-Y", &path("")];
    let args = args.iter().chain(&["-m", "64", "-M", "8"]).map(ToString::to_string).collect();
    let mut subject = Subject::new(folder, ("/usr/sbin/kamailio".into(), args));
    subject.address.set_port(free_port());
    let text = edited(setup, &subject);
    std::fs::write(cfg, text).expect("kamailio.cfg is written");
    assert!(subject.try_start(), "kamailio starts: {}", subject.log());
    subject
}

fn edited(setup: &Setup, subject: &Subject) -> String {
    let stock = std::fs::read_to_string(STOCK);
    let stock = stock.unwrap_or_else(|error| panic!("apt-get install kamailio: {STOCK}: {error}"));
    let flood = setup.config.get("flood").is_none_or(|flood| !flood.is_null());
    let mut defines =
        String::from("#!define WITH_AUTH\n#!define WITH_IPAUTH\n#!define WITH_PSTN\n");
    if flood {
        defines.push_str("#!define WITH_ANTIFLOOD\n");
    }
    let database = subject.folder.path().join("kam.db");
    writeln!(defines, "#!define DBURL \"sqlite:///{}\"", database.display()).expect("a String");
    let address = subject.address;
    // The printed listings run as an owner has them, with the stock file's number of processes.
    let children = if setup.listing.is_some() { 8 } else { 2 };
    let listen = format!(
        "children={children}\nauto_aliases=no\nalias=\"{DOMAIN}\"\nlisten=udp:{address}\n\
         listen=tcp:{address}"
    );
    let text = stock.replacen("#!KAMAILIO\n", &format!("#!KAMAILIO\n{defines}"), 1);
    let text = text.replacen("children=8", &listen, 1);
    let sqlite = "loadmodule \"db_sqlite.so\"\nloadmodule \"jsonrpcs.so\"";
    let text = text.replacen("loadmodule \"jsonrpcs.so\"", sqlite, 1);
    let text = match gateway(setup) {
        Some(host) => text.replacen("gw_ip = \"\"", &format!("gw_ip = \"{host}\""), 1),
        None => text,
    };
    with_listing(&text, setup, flood)
}

/// Host of the first gateway; the stock file's port stays 5060.
fn gateway(setup: &Setup) -> Option<String> {
    let uri = setup.config.pointer("/routing/pstn/gateways/0")?.as_str()?;
    Some(uri.trim_start_matches("sip:").split([':', ';']).next()?.to_string())
}

/// Puts the seed's listing in place of the stock file's plain check.
fn with_listing(text: &str, setup: &Setup, flood: bool) -> String {
    let guard = |key: &str| setup.config.get("guard").and_then(|guard| guard.get(key));
    let mode = guard("mode").and_then(|mode| mode.as_str()).unwrap_or("seed-ip-user");
    let text = match setup.listing {
        Some(listing) => listing.into_stock(text),
        None if mode == "off" => return text.to_string(),
        None => {
            let key = if mode == "seed-user" { "$au" } else { "$si::$au" };
            let suspend = guard("suspend").and_then(|value| value.as_str()).unwrap_or("900s");
            let suspend = suspend.trim_end_matches('s');
            let listing = LISTING.replace("KEY", key).replace("SUSPEND", suspend);
            splice(text, &listing, "\t\t# user authenticated - remove auth header")
        }
    };
    let table = "modparam(\"htable\", \"htable\", \"userban=>size=8;autoexpire=920;initval=0;\")\n";
    let module = if flood { "" } else { "loadmodule \"htable.so\"\n" };
    // Behind every loadmodule line, before the first route.
    text.replacen("request_route {", &format!("{module}{table}request_route {{"), 1)
}

fn make_database(folder: &Path, setup: &Setup) {
    let mut script = String::new();
    for table in ["standard", "auth_db", "usrloc", "permissions"] {
        writeln!(script, ".read {SCHEMA}/{table}-create.sql").expect("a String");
    }
    for user in &setup.users {
        writeln!(
            script,
            "INSERT INTO subscriber(username,domain,password) VALUES('{user}','{DOMAIN}','{}');",
            password_of(user)
        )
        .expect("a String");
    }
    for entry in setup.config["trusted"].as_array().into_iter().flatten() {
        let net = entry["net"].as_str().unwrap_or("");
        let (ip, mask) = net.split_once('/').unwrap_or((net, "32"));
        writeln!(
            script,
            "INSERT INTO address(grp,ip_addr,mask,port,tag) VALUES(1,'{ip}',{mask},0,'test');"
        )
        .expect("a String");
    }
    let mut sqlite = Command::new("sqlite3");
    let sqlite = sqlite.arg(folder.join("kam.db")).stdin(Stdio::piped()).spawn();
    let mut sqlite = sqlite.expect("apt-get install sqlite3");
    let mut input = sqlite.stdin.take().expect("a pipe");
    input.write_all(script.as_bytes()).expect("sqlite3 reads its script");
    drop(input);
    assert!(sqlite.wait().expect("sqlite3 ends").success(), "the peer's tables are made");
}
