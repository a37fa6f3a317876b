//! Errors as JSON-RPC has them.

use serde_json::{Value, json};

/// The body of an answer that refuses messages with these ids; several only for a batch. Without any, it names none.
pub fn error_body(ids: &[Box<str>], is_batch: bool, code: i64, message: &str, data: &Value) -> Vec<u8> {
    let error = json!({ "code": code, "message": message, "data": data }).to_string();
    let one = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    match ids {
        [] => one("null"),
        ids if is_batch => format!("[{}]", ids.iter().map(|id| one(id)).collect::<Vec<_>>().join(",")),
        [id, ..] => one(id),
    }
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_gets_its_error() {
        let body = |ids: &[&str], is_batch| {
            let ids: Vec<Box<str>> = ids.iter().map(|id| (*id).into()).collect();
            String::from_utf8(error_body(&ids, is_batch, -32602, "no", &json!({"code": "x"}))).unwrap()
        };
        let error = r#""error":{"code":-32602,"message":"no","data":{"code":"x"}}}"#;
        assert_eq!(body(&["7"], false), format!(r#"{{"jsonrpc":"2.0","id":7,{error}"#));
        assert_eq!(body(&[], true), format!(r#"{{"jsonrpc":"2.0","id":null,{error}"#));
        let one = format!(r#"{{"jsonrpc":"2.0","id":"a",{error}"#);
        assert_eq!(body(&["\"a\"", "\"a\""], true), format!("[{one},{one}]"));
    }
}
