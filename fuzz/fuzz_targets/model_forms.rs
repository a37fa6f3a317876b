//! Any bytes as a form with a model's name: no panic, nothing but the name changes, and a reader that is less strict finds
//! the same name in it.
#![no_main]

use credentialflow_llm::task::{
    Task,
    call::TaskCall,
    multipart::{Form, boundary},
};

const KIND: &str = "multipart/form-data; boundary=b";

/// The models that a lenient reader finds: one that takes bare line feeds, and whatever else stands in a header.
fn named(body: &str) -> Vec<&str> {
    let parts = body.split("--b").filter_map(|part| {
        let part = part.trim_start_matches(['\r', '\n']);
        let (header, content) = part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"))?;
        let is_model = header.contains("name=\"model\"") || header.contains("name=model");
        is_model.then(|| content.trim_end_matches(['\r', '\n']))
    });
    parts.collect()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _ = boundary(&text);
    // As it comes, and as the content of a form that is right.
    let framed = [
        b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nmine\r\n--b\r\n".as_slice(),
        bytes,
        b"\r\n--b--\r\n",
    ];
    for body in [bytes.to_vec(), framed.concat()] {
        let Ok(call) = TaskCall::parse(Task::Transcriptions, Some(KIND.as_bytes()), &body) else { continue };
        if let Ok(text) = std::str::from_utf8(&body)
            // A file of that name, and names that only hold it, are none.
            && !text.contains("filename")
        {
            assert!(named(text).contains(&call.model()), "{text:?}");
        }
        let sent = call.rewrite(&body, "other").into_owned();
        let (Ok(before), Ok(after)) = (Form::parse(&body, "b"), Form::parse(&sent, "b")) else {
            panic!("a form stays one")
        };
        assert_eq!(before.parts.len(), after.parts.len());
        for (before, after) in before.parts.iter().zip(&after.parts) {
            assert_eq!((&before.name, before.file), (&after.name, after.file));
            let content = &sent[after.content.clone()];
            match &*after.name {
                "model" => assert_eq!(content, b"other"),
                _ => assert_eq!(content, &body[before.content.clone()]),
            }
        }
        if let Some(texts) = call.texts(&body) {
            let again = call.with_texts(&body, &texts);
            assert!(again.is_some_and(|again| Form::parse(&again, "b").is_ok() || again != body));
        }
    }
});
