//! Random text in the alphabets and lengths GitHub uses.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// `gho_` or `ghu_` and 36 letters and digits.
pub(crate) fn access_token(prefix: &str) -> String {
    format!("{prefix}{}", text(BASE62, 36))
}

/// `ghr_` and 76 letters and digits.
pub(crate) fn refresh_token() -> String {
    format!("ghr_{}", text(BASE62, 76))
}

/// 20 hexadecimal digits.
pub(crate) fn code() -> String {
    text(HEX, 20)
}

/// 40 hexadecimal digits.
pub(crate) fn device_code() -> String {
    text(HEX, 40)
}

/// Eight hexadecimal digits in capitals, with a hyphen in the middle.
pub(crate) fn user_code() -> String {
    let mut code = text(HEX, 8).to_ascii_uppercase();
    code.insert(4, '-');
    code
}

/// `length` characters, each of the alphabet with the same chance.
fn text(alphabet: &[u8], length: usize) -> String {
    // Bytes at or above the largest multiple of the alphabet's length would favour its start.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    let mut bytes = [0u8; 128];
    while text.len() < length {
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        let wanted = length - text.len();
        text.extend(
            bytes
                .iter()
                .map(|&byte| usize::from(byte))
                .filter(|&byte| byte < fair)
                .take(wanted)
                .map(|byte| char::from(alphabet[byte % alphabet.len()])),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_githubs_lengths_and_alphabets() {
        let token = access_token("gho_");
        assert_eq!(token.len(), 40);
        assert!(token[4..].bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(token, access_token("gho_"));

        let refresh = refresh_token();
        assert_eq!(refresh.len(), 80);
        assert!(refresh.starts_with("ghr_"));

        for (code, length) in [(code(), 20), (device_code(), 40)] {
            assert_eq!(code.len(), length);
            assert!(code.bytes().all(|b| HEX.contains(&b)));
        }

        let user_code = user_code();
        assert_eq!(user_code.len(), 9);
        assert_eq!(user_code.find('-'), Some(4));
        assert_eq!(user_code, user_code.to_ascii_uppercase());
    }
}
