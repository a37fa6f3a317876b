#![allow(clippy::unwrap_used)]
use super::*;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TIME: &str = "20150830T123600Z";
const PLAIN: &[(&str, &str)] = &[("host", "example.amazonaws.com"), ("x-amz-date", TIME)];

fn signed(method: &str, target: &str, headers: &[(&str, &str)], payload: Payload<'_>, service: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let region = "us-east-1";
    let request = ToSign { method, path, query, service, region, time: TIME, headers, payload };
    let made = authorization(ID, &SecretValue::from(SECRET), &request);
    let scope = format!("AWS4-HMAC-SHA256 Credential={ID}/20150830/us-east-1/{service}/aws4_request, SignedHeaders=");
    made.strip_prefix(&scope).unwrap().split_once("Signature=").unwrap().1.to_owned()
}

/// Cases of AWS's own Signature Version 4 test suite.
#[test]
fn agrees_with_the_test_suite_of_aws() {
    let form: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded"), PLAIN[0], PLAIN[1]];
    let unreserved = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (method, target, headers, body, expected) in [
        ("GET", "/", PLAIN, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", PLAIN, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("POST", "/", form, "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            PLAIN,
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "GET",
            "/?Param1=value2&Param1=value1",
            PLAIN,
            "",
            "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
        ),
        ("GET", unreserved, PLAIN, "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        ("GET", "//example//", PLAIN, "", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("GET", "/./example", PLAIN, "", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
        (
            "GET",
            "/example1/example2/../..",
            PLAIN,
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        ("GET", "/example space/", PLAIN, "", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ("GET", "/ሴ", PLAIN, "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ] {
        assert_eq!(signed(method, target, headers, Payload::Bytes(body.as_bytes()), "service"), expected, "{target}");
    }
}

/// What botocore makes of the same requests.
#[test]
fn agrees_with_botocore_where_paths_have_escapes_and_where_they_are_of_s3() {
    let headers = [
        ("content-type", "application/json"),
        ("host", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("x-amz-date", TIME),
        ("x-amz-security-token", "TOKEN+/="),
    ];
    let path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
    assert_eq!(
        signed("POST", path, &headers, Payload::Bytes(br#"{"messages":[]}"#), "bedrock"),
        "86c9293377260da3311730403dd6207ae86eb87b0da8e3ca3fe66aeb27fe5e9a"
    );
    let empty = payload_hash(Payload::Bytes(b""));
    let headers = [("host", "b.s3.amazonaws.com"), ("x-amz-content-sha256", &empty), ("x-amz-date", TIME)];
    assert_eq!(
        signed("GET", "/a%20b%2Bc//d.txt?prefix=x&list-type=2", &headers, Payload::Bytes(b""), "s3"),
        "7e293dd6bd28aea5f749812b90f4395e6b367ddb1e8a64e5ee1cb18217600e0e"
    );
}

#[test]
fn every_part_of_a_request_is_signed() {
    let base = signed("POST", "/a?b=c", PLAIN, Payload::Bytes(b"x"), "service");
    let other: &[(&str, &str)] = &[("host", "example.amazonaws.org"), PLAIN[1]];
    for changed in [
        signed("PUT", "/a?b=c", PLAIN, Payload::Bytes(b"x"), "service"),
        signed("POST", "/b?b=c", PLAIN, Payload::Bytes(b"x"), "service"),
        signed("POST", "/a?b=d", PLAIN, Payload::Bytes(b"x"), "service"),
        signed("POST", "/a?b=c", other, Payload::Bytes(b"x"), "service"),
        signed("POST", "/a?b=c", PLAIN, Payload::Bytes(b"y"), "service"),
        signed("POST", "/a?b=c", PLAIN, Payload::Unsigned, "service"),
        signed("POST", "/a?b=c", PLAIN, Payload::Bytes(b"x"), "other"),
    ] {
        assert_ne!(changed, base);
    }
}

#[test]
fn parameters_have_one_form() {
    assert_eq!(query("b&a=1&a=%2f%zz&c=x%20y"), "a=%2F%25zz&a=1&b=&c=x%20y");
    assert_eq!(query(""), "");
}

#[test]
fn a_time_is_written_without_anything_between() {
    assert_eq!(time("2015-08-30T12:36:00.987654Z".parse().unwrap()), TIME);
    assert_eq!(time(Timestamp::from_secs(0)), "19700101T000000Z");
}

#[test]
fn access_keys_come_in_two_forms() {
    let read = |text: &str| {
        let key = AccessKey::parse(&SecretValue::from(text))?;
        assert!(!format!("{key:?}").contains(std::str::from_utf8(key.secret.expose()).unwrap()));
        let text = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
        Some((key.id.clone(), text(&key.secret), key.session_token.as_ref().map(text)))
    };
    let found = |token: Option<&str>| Some(("AKIA1".to_owned(), "s/e+c".to_owned(), token.map(str::to_owned)));
    assert_eq!(read("AKIA1:s/e+c"), found(None));
    assert_eq!(read(" AKIA1:s/e+c:FwoG==\n"), found(Some("FwoG==")));
    let exported = r#"{"Version":1,"AccessKeyId":"AKIA1","SecretAccessKey":"s\/e+c","SessionToken":"FwoG==","Expiration":"2026-11-23T00:00:00Z"}"#;
    assert_eq!(read(exported), found(Some("FwoG==")));
    assert_eq!(read(r#"{"aws_access_key_id":"AKIA1","aws_secret_access_key":"s/e+c"}"#), found(None));
    assert_eq!(read(r#"{"access_key_id":"AKIA1","secret_access_key":"s/e+c","session_token":""}"#), found(None));
    for bad in [
        "",
        "AKIA1",
        "AKIA1:",
        ":secret",
        "AKIA1:a:",
        "AKIA1:a b",
        "AK/IA:a",
        "AKIA1:a\r\nb: c",
        "{}",
        r#"{"AccessKeyId":"AKIA1"}"#,
        r#"{"AccessKeyId":"A","SecretAccessKey":"a\r\nb"}"#,
        r#"{"AccessKeyId":"A","AccessKeyId":"B","SecretAccessKey":"a"}"#,
    ] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
}
