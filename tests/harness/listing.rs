//! The seed's two listings against guessed passwords as they are printed, faults included, for
//! Kamailio's route[AUTH]: what an owner who copies them runs. The typographic quotes alone are
//! corrected, without which the file would not load. `kamailio.rs` has the repaired form that
//! the requirements' own tests run against.

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Counted by user name, `auth_count == 3`.
    First,
    /// Counted by source and user, as printed: `$var(srcip)` is never set.
    Second,
}

/// What the listing replaces in the stock file begins here.
const STOCK: &str =
    "\tif (is_method(\"REGISTER\") || from_uri==myself) {\n\t\t# authenticate requests";

const FIRST: &str = r#"
	if (is_method("REGISTER") || from_uri==myself) {
		if (is_present_hf("Authorization") || is_present_hf("Proxy-Authorization")) {
			if ($sht(userban=>$au::auth_count)==3) {
				$var(exp) = $Ts - 900;
				if ($sht(userban=>$au::last_auth) > $var(exp)) {
					sl_send_reply("403", "Try later");
					exit;
				} else {
					$sht(userban=>$au::auth_count) = 0;
				}
			}
		}
		# authenticate requests
		auth_check("$fd", "subscriber", "1");
		$var(rc) = $rc;
		if ($var(rc)<0) {
			switch ($var(rc)) {
				case -1:
					sl_send_reply("403", "Forbidden");
					exit;
				case -2:
					$var(auth_count) = $shtinc(userban=>$au::auth_count);
					if ($var(auth_count) == 3)
						xlog("auth failed 3rd time - src ip: $si\n");
					$sht(userban=>$au::last_auth) = $Ts;
				break;
			}
			auth_challenge("$fd", "0");
			exit;
		}
		$sht(userban=>$au::auth_count) = 0;
"#;

const SECOND: &str = r#"
	if ($sht(userban=>$var(srcip)::$au::auth_count) >= 3) {
		$var(exp) = $Ts - 900;
		if ($sht(userban=>$var(srcip)::$au::last_auth) > $var(exp)) {
			xdbg("auth - [$ci] [$cs $rm] [$fu -> $ru ($tu)]: User blocked - IP: $var(srcip)\n");
			sl_send_reply("403", "Try later");
			exit;
		} else {
			$sht(userban=>$var(srcip)::$au::auth_count) = 0;
		}
	}
	if (!(is_present_hf("Authorization") || is_present_hf("Proxy-Authorization"))) {
		auth_challenge("$fd", "0");
		exit;
	}
	# authenticate requests
	if (!auth_check("$fd", "subscriber", "1")) {
		$var(auth_count) = $shtinc(userban=>$var(srcip)::$au::auth_count);
		if ($var(auth_count) >= 3)
			xlog("many failed auth in a row - [$rm] from <$fu> src ip: $var(srcip)\n");
		$sht(userban=>$var(srcip)::$au::last_auth) = $Ts;
		auth_challenge("$fd", "0");
		exit;
	}
	$sht(userban=>$var(srcip)::$au::auth_count) = $null;
	# user authenticated - remove auth header
	if (!is_method("REGISTER|PUBLISH")) {
		consume_credentials();
	}
"#;

impl Listing {
    /// The stock file with this listing in place of its plain check.
    pub fn into_stock(self, stock: &str) -> String {
        match self {
            Self::First => splice(stock, FIRST, "\t\t# user authenticated - remove auth header"),
            Self::Second => splice(stock, SECOND, "\n#!else\n\n\t# authentication not enabled"),
        }
    }
}

/// `stock` with the plain check, up to `end`, replaced.
pub fn splice(stock: &str, listing: &str, end: &str) -> String {
    let (before, rest) = stock.split_once(STOCK).expect("the stock route[AUTH]");
    let (_, after) = rest.split_once(end).expect("the end of the stock check");
    format!("{before}{listing}{end}{after}")
}
