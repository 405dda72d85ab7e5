//! Logs that the masker once masked in another way than the [definition](slow).

use rstest::rstest;

use super::*;
use crate::stream::SLICE;

/// Asserts that a masker gives the same output as the definition, and returns this output.
fn agreed(secret: &str, log: &[u8]) -> String {
    let masker = Masker::new([secret]);
    let expected = slow::masked(&masker.secrets, log);
    for masker in [quick(&masker), masker] {
        assert_eq!(
            String::from_utf8_lossy(&masked(&masker, [log])),
            String::from_utf8_lossy(&expected),
            "{:?}",
            String::from_utf8_lossy(log)
        );
    }
    String::from_utf8_lossy(&expected).into_owned()
}

fn each(text: &str, between: &str, show: impl Fn(u8) -> String) -> String {
    text.bytes().map(show).collect::<Vec<_>>().join(between)
}

/// A slice ends within a secret that begins before the bytes that the masker holds back. The secret's first
/// characters are apart from each other, so they could be there by chance.
#[test]
fn a_slice_ends_within_characters_that_stand_alone() {
    let token = long_jwt(1_790_000_000);
    for more in 0..3 {
        let log = format!(
            "{}\n{}\n",
            " ".repeat(SLICE - 2000 + more),
            each(&token, ", ", |byte| char::from(byte).into())
        );
        assert_eq!(agreed(&token, log.as_bytes()).trim(), MARK, "{more}");
    }
}

/// A slice ends within the line that has the numbers behind a label.
#[test]
fn a_slice_ends_within_a_line_of_numbers_behind_a_label() {
    let token = long_jwt(1_790_000_000);
    let record = |byte| format!("value={byte} and a number of nothing {}, ", byte % 7);
    let log = format!("{}\n", each(&token, "", record));
    assert!(log.len() > SLICE);
    let log = format!("{}{}", log.trim_end(), "no more records".repeat(200));
    let out = agreed(&token, log.as_bytes());
    assert_eq!(out.matches(MARK).count(), 1, "{out}");
}

/// A part of a token's signature, and eight of its bytes in hexadecimal digits, in the middle of other text.
#[test]
fn eight_characters_of_a_signature_are_masked_anywhere() {
    let token = long_jwt(1_790_000_000);
    let characters = &token[token.len() - 50..token.len() - 42];
    let digits = each_byte(&signature(&token)[100..108], "", |byte| format!("{byte:02x}"));
    let log = format!("worker 7 is ready: name_{characters}.log\n48{digits}48\n");
    let out = agreed(&token, log.as_bytes());
    // The masker does not know where decoded bytes begin, so it leaves out two of them.
    let expected = format!("worker 7 is ready: name_{MARK}.log\n48{}{MARK}48\n", &digits[..4]);
    assert_eq!(out, expected);
}

/// The last number has letters of another word behind it.
#[rstest]
#[case("token: 6875, 6E74, 6572, 3221Continue? [y/N] ")]
#[case("4265:6172:6572:2068:756e:7465:7232:210x150 165 156")]
fn digits_of_a_short_secret_before_a_word_are_masked(#[case] log: &str) {
    assert!(agreed("hunter2!", log.as_bytes()).contains(MARK));
}

/// The first look begins with a number that looks like an address. But it is not the first number in the
/// line.
#[test]
fn binary_digits_after_other_text_are_masked() {
    let escapes = each("hunter2!", ";", |byte| format!("0x{byte:02x}"));
    let digits = each(&escapes, " ", |byte| format!("{byte:08b}"));
    let out = agreed("hunter2!", format!("1 \u{e9}0x{digits}\n").as_bytes());
    assert!(out.contains(MARK), "{out}");
}

/// A terminal does not show the first bytes of the number or of the escape.
#[rstest]
#[case("\x1b[", "\\u00", ";")]
#[case("\x1b", "\\u00", "")]
#[case("\x1b[", "", ":")]
#[case("\x1b[", "", "")]
#[case("\x1b[", "=", "")]
#[case("\x1b%", "", " ")]
#[case("\x1b", "", ", ")]
fn numbers_that_begin_in_a_control_sequence_are_masked(
    #[case] sequence: &str,
    #[case] before: &str,
    #[case] between: &str,
) {
    // The first byte ends with a letter, which also ends a control sequence.
    for secret in ["nunter2!", "hunter2!"] {
        let list = each(secret, between, |byte| format!("{before}{byte:02x}"));
        let out = agreed(secret, format!("{sequence}{list} \n").as_bytes());
        assert!(out.contains(MARK), "{secret} {out}");
    }
}

/// A part of a token's signature as the identifiers and numbers that a line of a log has anyway.
#[rstest]
#[case::one_identifier("uid", &|bytes: &[u8]| {
    let hex = each_byte(bytes, "", |byte| format!("{byte:02x}"));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
})]
#[case::a_guid_of_windows("uid", &|bytes: &[u8]| {
    let hex = |places: &[usize]| places.iter().map(|at| format!("{:02x}", bytes[*at])).collect::<String>();
    [hex(&[3, 2, 1, 0]), hex(&[5, 4]), hex(&[7, 6]), hex(&[8, 9]), hex(&[10, 11, 12, 13, 14, 15])].join("-")
})]
#[case::two_words("duration", &|bytes: &[u8]| {
    let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word).to_string());
    words.collect::<Vec<_>>().join(" ms, and for the next worker: ")
})]
#[case::two_words_in_memory("duration", &|bytes: &[u8]| {
    let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word).to_string());
    words.collect::<Vec<_>>().join(" ms, and for the next worker: ")
})]
#[case::an_address("address", &|bytes: &[u8]| {
    let hex = each_byte(&bytes[..14], "", |byte| format!("{byte:02x}"));
    hex.as_bytes().chunks(3).map(|three| String::from_utf8_lossy(three).into_owned()).collect::<Vec<_>>().join(":")
})]
fn a_few_numbers_between_words_are_masked(#[case] name: &str, #[case] show: &dyn Fn(&[u8]) -> String) {
    let token = long_jwt(1_790_000_000);
    let line = |shown: &str| format!("12:30:59 worker 7 is ready: {name}=\"{shown}\", cores=2\n");
    let shown = show(&signature(&token)[64..80]);
    let out = agreed(&token, line(&shown).as_bytes());
    assert!(out.contains(MARK) && out.ends_with(", cores=2\n"), "{out}");
}

fn signature(token: &str) -> Vec<u8> {
    let signature = token.rsplit('.').next().expect("three parts");
    URL_SAFE_NO_PAD.decode(signature).expect("base64")
}

/// Twelve characters of a signature are a piece anywhere. In base64 twice, they are 22 characters.
#[test]
fn the_shortest_piece_is_masked_in_base64_twice() {
    let token = long_jwt(1_790_000_000);
    let at = token.rfind('.').expect("three parts");
    for piece in token.as_bytes()[at + 1..].windows(12) {
        let twice = URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(piece));
        let out = agreed(&token, format!("{{\"auth\":\"{twice}==\"}} 200 OK\n").as_bytes());
        assert!(!out.contains(&twice), "{out}");
    }
}

/// Twelve bytes of a signature in three lines. The first one or the last one is at an end of the log.
#[test]
fn a_few_short_lines_of_digits_at_an_end_are_masked() {
    let token = long_jwt(1_790_000_000);
    let piece = &token[token.rfind('.').expect("three parts") + 40..][..12];
    let lines = piece.as_bytes().chunks(4);
    let lines = lines.map(|line| each_byte(line, "", |byte| format!("{byte:02X}")));
    let lines = lines.collect::<Vec<_>>().join("\n");
    for log in [
        format!("ready: {lines}   "),
        format!("{lines}; ready\n"),
        format!("{lines}\n"),
    ] {
        assert!(agreed(&token, log.as_bytes()).contains(MARK), "{log}");
    }
}

/// The bytes of a text with a constant between them, such as the zeros of UTF-16. The constant is no counter
/// that stands for the text.
#[rstest]
fn numbers_with_a_constant_between_are_masked(
    #[values("0", "1", "255")] constant: &str,
    #[values(",", ", ", " ", "\n")] between: &str,
) {
    let token = long_jwt(1_790_000_000);
    for secret in ["hunter2!", "Tr0ub4dor&3-and-more", &token] {
        let list = each(secret, between, |byte| format!("{byte}{between}{constant}"));
        let out = agreed(secret, format!("{list}\n").as_bytes());
        assert!(out.contains(MARK), "{out}");
    }
}

/// `12.0` is the number 12, or the character `0` behind its number.
#[test]
fn characters_behind_their_numbers_are_masked() {
    let token = long_jwt(1_790_000_000);
    let rows = token
        .char_indices()
        .map(|(at, character)| format!("{at}.{character}\n"));
    let log: String = rows.collect();
    let out = agreed(&token, log.as_bytes());
    assert_eq!(out.matches(MARK).count(), token.len(), "{out}");
}

/// One secret begins with another one, which is whole as well.
#[test]
fn the_rest_of_a_secret_that_begins_with_another_is_masked() {
    let token = long_jwt(1_790_000_000);
    for first in [&token[token.len() - 80..], &token] {
        let login = format!("{first}:hunter22");
        let masker = Masker::new([first, &login]);
        let cells: Vec<_> = login.bytes().map(|byte| format!("| \\x{byte:02x} ")).collect();
        let log: String = cells.chunks(32).map(|row| row.concat() + "|\n").collect();
        let out = text(&masker, &log);
        assert!(!out.contains("\\x3a"), "{out}");
    }
}

/// A byte in each row of a table, behind rows with other bytes.
#[rstest]
#[case::a_listing(&|at, byte| format!("{at:>6} | {byte:>3} | one byte of the file, with a long description\n"))]
#[case::csv(&|at, byte| format!("{at},{byte},{},value of the byte in this row\n", at * 7 % 100))]
#[case::statements(&|at, byte| format!("insert into bytes (n, value, comment) values ({at}, {byte}, 'a byte');\n"))]
#[case::lines_of_a_log(&|at, byte| format!("12:30:{:02}.{:03} worker-3 INFO read byte {at} = {byte}\n", at % 60, at * 7 % 1000))]
#[case::xml(&|at, byte| format!("<row id=\"{at}\"><value>{byte}</value><note>ordinary</note></row>\n"))]
#[case::metrics(&|at, byte| format!("token_byte{{index=\"{at}\"}} {byte}.0\n"))]
#[case::fields(&|at, byte| format!("token,index={at} value={byte}i 17000000{at:04}000000000\n"))]
#[case::tuples(&|at, byte| format!("({at}, {byte}, 'a byte of the file, in the order of the file'), "))]
#[case::calls(&|_, byte| format!("datetime.timedelta(days={byte}), "))]
#[case::an_array(&|at, byte| format!("{{\"index\":{at},\"value\":{byte},\"comment\":\"a byte of the file\"}}, "))]
#[case::objects(&|at, byte| format!("{{\n    \"index_in_file\": {at},\n    \"value_of_byte\": {byte},\n    \"comment\": \"none\"\n  }},\n  "))]
fn rows_of_a_wide_table_are_masked(#[case] row: &dyn Fn(usize, u8) -> String) {
    let token = long_jwt(1_790_000_000);
    for secret in ["hunter2!", &token[token.len() - 342..], &token] {
        rows_are_masked(secret, row);
    }
}

/// Asserts that rows with the bytes of a secret are masked, also behind rows with other bytes.
fn rows_are_masked(secret: &str, row: &dyn Fn(usize, u8) -> String) {
    for before in [0, 25, 50] {
        let others = (0..before).map(|at| (at * 37 % 200) as u8);
        let later = (0..20).map(|at| (at * 53 % 200) as u8);
        let bytes = others.chain(secret.bytes()).chain(later).enumerate();
        let log: String = bytes.map(|(at, byte)| row(at, byte)).collect();
        assert!(agreed(secret, log.as_bytes()).contains(MARK), "{log}");
    }
}

/// A byte behind the same label each time. The lengths of the texts between them differ.
#[rstest]
#[case::one_line(&|at, byte| format!("value={byte}, {}; ", comment(at)))]
#[case::a_sentence(&|_, byte| format!("{byte}, and then the handler of the connection in the pool reads: "))]
#[case::objects(&|at, byte| format!("{{\"id\":{at},\"value\":{byte},\"name\":\"{}\"}}, ", comment(at)))]
#[case::tuples(&|at, byte| format!("({at},{byte},'{}'),", comment(at)))]
#[case::structs(&|at, byte| format!("#<struct Item index={at}, value={byte}>, "))]
#[case::two_values(&|at, byte| format!("'root[{at}]': {{'new_value': {byte}, 'old_value': {}}}, ", at * 31 % 256))]
#[case::the_end_of_a_sentence(&|at, byte| format!("Value of root[{at}] changed from {} to {byte}.\n", at * 31 % 256))]
#[case::cells(&|_, byte| format!("<td class=\"value\">{byte}</td>"))]
#[case::statements(&|at, byte| format!("INSERT INTO bytes VALUES ({at}, {byte}, '{}');\n", comment(at)))]
#[case::lines_of_a_log(&|at, byte| format!("12:30:{:02} INFO {} handler.py:{at} value={byte}\n", at % 60, comment(at)))]
#[case::hexadecimal(&|at, byte| format!("12:30:{:02} INFO {} handler.py:{at} {byte:02x}\n", at % 60, comment(at)))]
#[case::json_lines(&|at, byte| format!("{{\"time\":\"12:30:{:02}\",\"msg\":\"{}\",\"value\":{byte}}}\n", at % 60, comment(at)))]
#[case::every_third_line(&|at, byte| format!("{}\nvalue: {byte}\n{}\n", comment(at), comment(at + 3)))]
#[case::columns(&|at, byte| format!(" {at:>5} | {byte:>5} | {}\n", comment(at)))]
fn bytes_behind_the_same_label_are_masked(#[case] row: &dyn Fn(usize, u8) -> String) {
    let token = long_jwt(1_790_000_000);
    for secret in ["hunter2!", &token[token.len() - 342..]] {
        rows_are_masked(secret, row);
    }
}

/// Some words of a comment. Their number depends on the row.
fn comment(row: usize) -> String {
    let words = [
        "from", "the", "pool", "of", "a", "worker", "with", "other", "files",
    ];
    let count = 1 + row * 7 % 6;
    let words: Vec<_> = (0..count)
        .map(|at| words[(row * 5 + at * 2) % words.len()])
        .collect();
    words.join(" ")
}

/// The letters of hexadecimal numbers are not the texts between the numbers of a list.
#[test]
fn hexadecimal_words_with_letters_between_are_masked() {
    let token = long_jwt(1_790_000_000);
    let words = signature(&token)
        .chunks(4)
        .map(|word| each_byte(word, "", |byte| format!("{byte:02X}")))
        .collect::<Vec<_>>();
    let out = agreed(
        &token,
        format!("token OCTET STRING ::= '{}'H\n", words.join("'H '")).as_bytes(),
    );
    assert!(words[1..].iter().all(|word| !out.contains(word)), "{out}");
}

/// A terminal does not show the first digit.
#[rstest]
#[case("\x1b", " ")]
#[case("\x1b[", ", ")]
fn decimal_numbers_that_begin_in_a_control_sequence_are_masked(
    #[case] sequence: &str,
    #[case] between: &str,
) {
    let list = each("hunter2!", between, |byte| byte.to_string());
    let out = agreed("hunter2!", format!("{sequence}{list}\n").as_bytes());
    assert!(out.contains(MARK), "{out}");
}

/// The terminal shows the first or the last number and the word on the other side of the sequence as one
/// word.
#[rstest]
fn numbers_beside_a_control_sequence_and_a_word_are_masked(
    #[values("\x1b[C", "\x1b[0m", "\u{200b}", "\0")] sequence: &str,
    #[values("", "0x")] before: &str,
    #[values(" ", ", ")] between: &str,
) {
    for show in [|byte: u8| format!("{byte}"), |byte: u8| format!("{byte:02x}")] {
        let list = each("hunter2!", between, |byte| format!("{before}{}", show(byte)));
        let log = format!("{list}{sequence}ontinue? [y/N] \n");
        assert!(agreed("hunter2!", log.as_bytes()).contains(MARK), "{log:?}");
    }
}

/// Each line of a folded list has a prefix. The prefix can have numbers, and the fold can cut a number.
#[rstest]
fn folded_lists_are_masked_alike(
    #[values("\\u00", "\\x", "%", "&#x", "0x", "")] before: &str,
    #[values("", ";", ", ")] between: &str,
    #[values("12:", "> ", "app-1  | ", "2026-11-24T10:00:12.123Z ")] prefix: &str,
) {
    let token = long_jwt(1_790_000_000);
    let list = each(&token, between, |byte| format!("{before}{byte:02x}"));
    for columns in [29, 35] {
        let lines = list.as_bytes().chunks(columns).map(String::from_utf8_lossy);
        let log: String = lines.map(|line| format!("{prefix}{line}\n")).collect();
        agreed(&token, log.as_bytes());
    }
}

/// Two views find the same piece, and the piece of one of them ends within the colour.
#[test]
fn a_colour_at_the_end_of_two_pieces_stays() {
    let token = long_jwt(1_800_177_666);
    let log = b"LnN2Yy5j\x1bmb\0H\0V\0z\0d\0G\0V\0y\0L\0m\0x\0v\0Y\x002\0F\0s\0I\0iw\0i\0a\0n\0R\0p\0I\0j\0o\0i\0M\0G\0I\x001\0Y\0T\0F\0j\0M\0W\0U\0t\0N\x002\0E\x1b[1m\x001";
    assert!(agreed(&token, log).ends_with("\x1b[1m"));
}

/// The blanks look like those before the text column of a dump.
#[test]
fn numbers_in_a_text_column_are_masked() {
    let list = each("hunter2!", ", ", |byte| format!("\\x{byte:02x}"));
    let out = agreed(
        "hunter2!",
        format!("{}    {list}\n", "48, 49, ".repeat(30)).as_bytes(),
    );
    assert!(out.contains(MARK), "{out}");
}

/// Some lines of the text column begin with the digits of an escape or of a list. Such a column is no number.
#[rstest]
#[case::escapes("", |byte: u8| format!("&#x{byte:02x};"))]
#[case::hexadecimal(" ", |byte: u8| format!("{byte:02x}"))]
#[case::decimal(", ", |byte: u8| byte.to_string())]
#[case::octal(" ", |byte: u8| format!("{byte:03o}"))]
fn a_text_column_that_begins_with_digits_is_no_number(
    #[case] between: &str,
    #[case] show: fn(u8) -> String,
    #[values(1, 2, 16)] group: usize,
) {
    let token = long_jwt(1_790_000_000);
    let secret = token.rsplit('.').next().expect("three parts");
    let shown = each(secret, between, show);
    let lines = shown.as_bytes().chunks(16).enumerate().map(|(line, bytes)| {
        let pair = |pair| each_byte(pair, "", |byte| format!("{byte:02x}"));
        let hex: Vec<_> = bytes.chunks(group).map(pair).collect();
        let (hex, width) = (hex.join(" "), 31 + 16 / group);
        let text = String::from_utf8_lossy(bytes);
        format!("{:08x}: {hex:<width$}  {text}\n", 16 * line)
    });
    let out = agreed(secret, lines.collect::<String>().as_bytes());
    let shown = out.replace(MARK, "");
    let mut rest = shown.lines().filter_map(|line| line.get(10..));
    // A number can be in two lines, and its first digits stay.
    assert!(rest.all(|rest| rest.trim().len() < 8), "{out}");
}

/// The output of `od -c` for numbers has no letter but `x` and the hexadecimal digits.
#[test]
fn numbers_as_characters_are_masked() {
    let token = long_jwt(1_790_000_000);
    let secret = token.rsplit('.').next().expect("three parts");
    let shown = each(secret, ", ", |byte| format!("0x{byte:02x}"));
    let lines = shown.as_bytes().chunks(16).enumerate().map(|(line, bytes)| {
        let characters = each_byte(bytes, "", |byte| format!("   {}", char::from(*byte)));
        format!("{:07o}{characters}\n", 16 * line)
    });
    let out = agreed(secret, lines.collect::<String>().as_bytes());
    assert!(out.len() < 40, "{out}");
}

/// Many numbers are far before the blanks, and the text after the blanks is not the text column of a dump.
#[test]
fn a_text_column_is_near_its_numbers() {
    let token = long_jwt(1_790_000_000);
    for numbers in [20, 130, 1500] {
        let bits = "00001101 ".repeat(numbers);
        let decimals = each(&token, " ", |byte| byte.to_string());
        for text in [
            STANDARD.encode(&decimals),
            decimals,
            each(&token, " ", |byte| format!("{byte:08b}")),
        ] {
            agreed(&token, format!("{bits}{}{text}\n", " ".repeat(275)).as_bytes());
        }
    }
}

/// A slice ends within the escapes of the header, which have more bytes than the masker holds back of other
/// text. The first look does not know the header.
#[test]
fn a_slice_ends_within_the_escapes_of_a_header() {
    let token = long_jwt(1_790_000_000);
    for list in [
        each(&token, ", ", |byte| format!("\\u{byte:04x}")),
        each(&token, " ", |byte| format!("&#x{byte:02x};")),
    ] {
        let log = format!("{}\n{list}\n", " ".repeat(SLICE - 1200));
        assert_eq!(agreed(&token, log.as_bytes()).trim(), MARK);
    }
}

/// The text that the masker reads begins within the long line of binary digits, and must not begin within a
/// number.
#[test]
fn numbers_after_a_long_line_of_numbers_are_masked() {
    let token = long_jwt(1_790_000_000);
    let numbers = each(&"other ".repeat(400), " ", |byte| format!("{byte:08b}"));
    let list = each(&each(&token, ", ", |byte| byte.to_string()), "", |byte| {
        format!("{byte:02X}")
    });
    for more in 0..9 {
        let log = format!("{numbers}{}{}", " ".repeat(300 + more), fold(&list, 8));
        let out = agreed(&token, log.as_bytes());
        assert!(!out.contains("3130"), "{out}");
    }
}

/// The text ends within the last byte of a long number.
#[test]
fn a_long_number_with_half_a_byte_is_masked() {
    let token = long_jwt(1_790_000_000);
    let base64 = STANDARD.encode(&token);
    let hex = each(&base64[1..], "", |byte| format!("{byte:02x}"));
    let log = format!("0x{:02x}0x{hex}0\n", base64.as_bytes()[0]);
    assert_eq!(agreed(&token, log.as_bytes()), format!("0x{MARK}0\n"));
}

/// Before the numbers is the end of a word, or after them the beginning of another list.
#[rstest]
#[case(
    "nter2!\\000000: 3130 3420 3131 3720 3131 3020 3131 3620   104.117.110.116.\n000010: 3130 3120 3131 3420 3530 2033 33          101.114.50.33\n"
)]
#[case(
    "6\x008\x00-\x007\x005\x00-\x006\x00e\x00-\x007\x004\x00-\x006\x005\x00-\x007\x002\x00-\x003\x002\x00-\x002\x001\x000x55, 0x39, 0x70, 0x53, 0x6d, 0x70, 0x68"
)]
fn numbers_beside_a_word_are_masked(#[case] log: &str) {
    let out = agreed("hunter2!", log.as_bytes());
    assert!(out.contains(MARK), "{out}");
    assert!(
        !["104.117", "3130 3420", "\x0038"]
            .iter()
            .any(|shown| out.contains(shown)),
        "{out}"
    );
}

/// The letter ends other text.
#[test]
fn binary_numbers_after_a_letter_are_masked() {
    let bits = each("correct-horse-battery-staple", " ", |byte| format!("{byte:08b}"));
    assert_eq!(
        agreed("correct-horse-battery-staple", format!("r{bits}\n").as_bytes()),
        format!("r{MARK}\n")
    );
}

/// The first and the last digit of each escape are the same, as if every second number were a counter.
#[test]
fn octal_numbers_of_equal_digits_in_escapes_are_masked() {
    let secret = "Tr0ub4dor-aqiyIQYaqiyIQ-and-more";
    let escapes = each(secret, "", |byte| format!("\\{byte:03o}"));
    for log in [
        each(&escapes, " ", |byte| format!("{byte:03o}")),
        each(&escapes, ", ", |byte| byte.to_string()),
    ] {
        assert_eq!(agreed(secret, log.as_bytes()), MARK);
    }
}

/// A slice ends within the header and the first claims, which have thousands of bytes. The first look finds
/// only what is behind them.
#[test]
fn a_slice_ends_within_numbers_of_numbers_of_a_header() {
    let token = long_jwt(1_790_000_000);
    let numbers = each(&token, ", ", |byte| format!("0x{byte:02x}"));
    let list = each(&numbers, ", ", |byte| format!("&#x{byte:02x}"));
    for more in [0, 2500, 5000] {
        let out = agreed(
            &token,
            format!("{}\n{list}\n", " ".repeat(58_400 + more)).as_bytes(),
        );
        assert!(out.contains(MARK), "{more}");
    }
}

/// Each line has only four of the numbers.
#[rstest]
#[case("")]
#[case("\x1b[")]
fn numbers_of_a_short_secret_in_two_lines_are_masked(#[case] before: &str) {
    let log = "\u{2502} 0x68, 0x75, 0x6e, 0x74,  \u{2502}\n\u{2502} 0x65, 0x72, 0x32, 0x21 \u{2502}\n";
    assert!(agreed("hunter2!", format!("{before}{log}").as_bytes()).contains(MARK));
}

/// The fold cuts escapes. Before the list are other numbers, in which no list begins.
#[test]
fn a_list_after_other_numbers_is_masked() {
    let secret = "correct-horse-battery-staple";
    let numbers = each(secret, ";", |byte| format!("\\x{byte:02x}"));
    let lines = numbers.as_bytes().chunks(36).map(String::from_utf8_lossy);
    let list: String = lines.map(|line| format!("\u{2502} {line} \u{2502}\n")).collect();
    for other in 5..12 {
        let bits = each(&secret[..other], " ", |byte| format!("{byte:08b}"));
        let out = agreed(secret, format!("{bits}\ntoken: {list}").as_bytes());
        assert!(out.contains(MARK), "{out}");
    }
}

/// The view reads the numbers before the blanks in escapes, which take more of the log.
#[test]
fn a_text_column_of_escaped_text_is_near_its_numbers() {
    let token = long_jwt(1_790_000_000);
    for (numbers, blanks) in [(200, 84), (500, 84), (300, 20), (300, 200)] {
        let hex = "\\x39, ".repeat(numbers);
        let escapes = each(&hex, "", |byte| format!("\\{byte:03o}"));
        let list = each(&token, ", ", |byte| format!("&#x{byte:02x}"));
        agreed(
            &token,
            format!("{escapes}{}{list}\n", " ".repeat(blanks)).as_bytes(),
        );
    }
}

/// The line with the last numbers has too few digits to be a list.
#[rstest]
#[case("app-1  | 01101000 01110101 01101110 01110100 01100101 01110010 00110010 00\napp-1  | 100001\n")]
#[case("\u{2502} 104, 117, 110, 116, 101, 114,  \u{2502}\n\u{2502} 50, 33 \u{2502}\n")]
fn the_last_numbers_of_a_short_secret_are_masked(#[case] log: &str) {
    assert!(agreed("hunter2!", log.as_bytes()).contains(MARK), "{log}");
}

/// `man` overstrikes each byte of UTF-16. After the list, no character stands alone.
#[test]
fn a_list_of_characters_at_the_beginning_is_masked() {
    let secret = "correct-horse-battery-staple";
    let list = each(secret, "", |byte| {
        let byte = char::from(byte);
        format!("{byte}\x08{byte}\0\x08\0")
    });
    let out = agreed(
        secret,
        format!("\n{list}\x1b[32m   Compiling\x1b[0m package v0.1.2\n").as_bytes(),
    );
    assert!(out.contains(MARK), "{out}");
}

/// Each byte of the secret takes up to 54 bytes of the log. Other escapes can be before the list.
#[rstest]
#[case("", |byte| format!("{byte:08b} "), |byte| format!("\\u{:04x}", byte))]
#[case("100 %, 100 %", |byte| format!("{byte:03o} "), |byte| format!("{byte:08b} "))]
fn escapes_of_a_short_secret_are_masked(
    #[case] before: &str,
    #[case] inner: fn(u8) -> String,
    #[case] outer: fn(u8) -> String,
) {
    let list = each(&each("hunter2!", "", inner), "", outer);
    for blanks in [50, 80, 110] {
        let log = format!("{before}{}%6{list}\n", " ".repeat(blanks));
        assert!(agreed("hunter2!", log.as_bytes()).contains(MARK), "{log}");
    }
}

/// A list of the characters of binary digits has only two different numbers, and often every second one is
/// equal.
#[rstest]
fn numbers_of_binary_digits_are_masked(
    #[values("\\u00", "0x", "&#x", "%", "")] before: &str,
    #[values(";", ", ", " ")] between: &str,
) {
    let token = long_jwt(1_790_000_000);
    let bits = each(&token, " ", |byte| format!("{byte:08b}"));
    let list = each(&bits, between, |byte| format!("{before}{byte:02x}"));
    let out = agreed(&token, format!("{list}\n").as_bytes());
    assert!(out.len() < 24, "{out}");
    let decimal = each(&bits, between, |byte| byte.to_string());
    let out = agreed(&token, format!("{decimal}\n").as_bytes());
    assert!(out.len() < 24, "{out}");
}

/// Far before the list are escapes, and the numbers right before it are parts of them.
#[test]
fn numbers_of_a_short_secret_after_escapes_are_masked() {
    let list = each("hunter2!", ", ", |byte| byte.to_string());
    let words = list
        .as_bytes()
        .chunks(2)
        .map(|pair| each_byte(pair, "", |byte| format!("{byte:02x}")));
    let words = words.collect::<Vec<_>>().join(", ");
    for blanks in [20, 100, 200] {
        let log = format!("v0.1.2\n\\u0072, \\u0032{}{words}\n", " ".repeat(blanks));
        assert!(agreed("hunter2!", log.as_bytes()).contains(MARK), "{log}");
    }
}

/// The blanks before the list look like those before the text column of a dump. The list has only a part of
/// the signature.
#[rstest]
#[case(" ", |byte: u8| byte.to_string())]
#[case(" ", |byte: u8| format!("{byte:02x}"))]
#[case("", |byte: u8| format!("{byte:02x}"))]
fn a_short_list_after_blanks_is_masked(#[case] between: &str, #[case] show: fn(u8) -> String) {
    let token = long_jwt(1_790_000_000);
    let list = each(&token[776..798], between, show);
    let bits = "01011010 ".repeat(100);
    for frame in ["", "> ", "| "] {
        let out = agreed(
            &token,
            format!("{bits}{}{frame}{list}\n", " ".repeat(147)).as_bytes(),
        );
        assert!(out.contains(MARK), "{out}");
    }
}

/// The numbers before the dump merge with those in its lines. Each text column has only a part of the secret.
#[test]
fn numbers_of_a_short_secret_in_two_text_columns_are_masked() {
    for (between, show) in [(" ", octal as fn(u8) -> String), (",", |byte| byte.to_string())] {
        let list = each("hunter2!", between, show);
        let lines = list.as_bytes().chunks(16).enumerate().map(|(line, bytes)| {
            let hex = each_byte(bytes, " ", |byte| format!("{byte:02x}"));
            format!(
                "{:06x}: {hex:<47}   {}\n",
                16 * line,
                String::from_utf8_lossy(bytes).replace(' ', ".")
            )
        });
        let lines = lines.collect::<String>();
        let out = agreed("hunter2!", format!("0000000: 3130      10\n0x{lines}").as_bytes());
        assert!(out.contains(MARK), "{out}");
    }
}

fn octal(byte: u8) -> String {
    format!("{byte:03o}")
}

/// In the text column of a dump of UTF-16, a dot stands for the zero between two characters. The token has
/// dots itself.
#[rstest]
fn a_text_column_of_utf_16_is_masked(
    #[values("correct-horse-battery-staple", "")] secret: &str,
    #[values(8, 16, 32)] columns: usize,
    #[values(false, true)] is_big_endian: bool,
) {
    let token = long_jwt(1_790_000_000);
    let secret = if secret.is_empty() { &token } else { secret };
    let units = secret.encode_utf16();
    let bytes = units.flat_map(|unit| match is_big_endian {
        true => unit.to_be_bytes(),
        false => unit.to_le_bytes(),
    });
    let bytes: Vec<_> = bytes.collect();
    let lines = bytes.chunks(columns).enumerate().map(|(line, bytes)| {
        let hex = each_byte(bytes, " ", |byte| format!("{byte:02x}"));
        let text = each_byte(bytes, "", |byte| match byte {
            0 => '.'.into(),
            byte => char::from(*byte).into(),
        });
        format!(
            "{:08x}  {hex:<width$}  |{text}|\n",
            columns * line,
            width = 3 * columns
        )
    });
    let out = agreed(secret, lines.collect::<String>().as_bytes());
    assert!(out.lines().all(|line| line.matches(MARK).count() == 2), "{out}");
}

/// The log can end within any escape or number, and the masker holds the whole list back.
#[rstest]
#[case(|byte| format!("{byte:08b} "), |byte| format!("&#x{byte:02x};"))]
#[case(|byte| format!("{byte} "), |byte| format!("\\{byte:03o}"))]
#[case(|byte| format!("{}", char::from(byte)), |byte| {
    format!("&#x{byte:02x}, ").chars().map(|shown| format!("{shown}\x08{shown}")).collect()
})]
fn an_unfinished_list_is_held_back(#[case] inner: fn(u8) -> String, #[case] outer: fn(u8) -> String) {
    let token = long_jwt(1_790_000_000);
    let list = each(&each(&STANDARD.encode(&token), "", inner), "", outer);
    let masker = Masker::new([token.as_str()]);
    for end in (500..600).chain(3200..3300) {
        let (mut masker, mut out) = (masker.clone(), Vec::new());
        masker
            .push(&list.as_bytes()[..end], &mut out)
            .expect("memory takes all");
        masker.flush(&mut out).expect("memory takes all");
        assert!(out.len() < 24, "{end}: {}", String::from_utf8_lossy(&out));
    }
}

/// The word touches the last escape.
#[test]
fn escapes_of_a_short_secret_before_a_word_are_masked() {
    let escapes = [
        ("\\x", ""),
        (";&#x", ""),
        ("\\u00", ""),
        ("\\u00", ", "),
        ("%u00", " "),
        ("\\U000000", ", "),
    ];
    for (before, between) in escapes {
        let list = each("hunter2!", between, |byte| format!("{before}{byte:02x}"));
        let utf16: String = list.chars().flat_map(|shown| [shown, '\0']).collect();
        for list in [list, utf16] {
            let out = agreed("hunter2!", format!("{list}eyJhbGciOiJSUzI1NiJ9\n").as_bytes());
            assert!(out.contains(MARK), "{out}");
        }
    }
}

/// A short secret has few pieces: no more lines or control sequences than the views need.
#[rstest]
#[case("hunter2!", "hu^[[31mnt^[[0mer^[[1m2!\n")]
#[case("hunter2!", "h^Hhunt^Hter2^H2!\n")]
#[case("correct-horse-battery-staple", "-correct\n--horse-\n-battery\n--staple")]
#[case("correct-horse-battery-staple", "+correct\n+-horse-\n+battery\n+-staple\n")]
fn a_short_secret_in_few_pieces_is_masked(#[case] secret: &str, #[case] log: &str) {
    let out = agreed(secret, log.as_bytes());
    assert!(out.contains(MARK), "{out}");
}

/// A signature has no padding, so the byte after it is other text.
#[test]
fn the_byte_after_a_token_stays() {
    let token = long_jwt(1_790_000_000);
    let out = agreed(&token, format!("Bearer {token}=i\n").as_bytes());
    assert_eq!(out, format!("Bearer {MARK}=i\n"));
}

/// The text after the base64 seems to be the line break of `echo`, if its first character is an escape.
#[rstest]
#[case("\\Compiling")]
#[case("%43ompiling")]
#[case("&#x43;ompiling")]
#[case("\\nCompiling")]
fn an_escape_after_base64_is_masked_alike(#[case] after: &str) {
    let token = long_jwt(1_790_000_000);
    let log = format!("Bearer {}{after}\n", STANDARD.encode(&token));
    assert!(agreed(&token, log.as_bytes()).contains(MARK));
}

/// A terminal shows the token without its first character, which an escape before it may replace.
#[rstest]
#[case("162\\145\x1b[", |token: &str| token.into())]
#[case("\\\x1b[", |token: &str| STANDARD.encode(token))]
fn a_token_that_begins_in_a_control_sequence_is_masked(
    #[case] before: &str,
    #[case] encode: fn(&str) -> String,
) {
    let token = long_jwt(1_790_000_000);
    let log = format!("{before}{}\n", encode(&token));
    assert!(agreed(&token, log.as_bytes()).contains(MARK));
}

/// Other tokens have the same claims. Each line has fewer of the rare ones than the first look finds.
#[rstest]
#[case("sImlzcyI6Imh0dHBzOi8va3ViZXJuZ\n> XRlcy5kZWZhdWx0LnN2Yy5jbHVzdG")]
#[case("eXN0ZW06c2VydmljZWFjY291bnQ6Y2k6ZGVwbG \u{2502}\n\u{2502} 95ZXIifQ._oqU0mzlio4HamaOV7mL4SfONUzjW")]
fn claims_of_another_token_stay(#[case] claims: &str) {
    let log = format!("> {claims}\n");
    assert_eq!(agreed(&long_jwt(1_790_000_000), log.as_bytes()), log);
}

/// After a pause, the masker still knows the header that it has written: the claims continue it.
#[test]
fn claims_after_a_pause_are_masked() {
    let token = long_jwt(1_790_000_000);
    let lines = token.as_bytes().chunks(106).map(String::from_utf8_lossy);
    let log: String = lines.map(|line| format!("app-1  | {line}\n")).collect();
    let mut masker = Masker::new([token.as_str()]);
    let mut out = Vec::new();
    let (first, rest) = log.as_bytes().split_at(150);
    masker.push(first, &mut out).expect("memory takes all");
    masker.pause(&mut out).expect("memory takes all");
    masker.push(rest, &mut out).expect("memory takes all");
    masker.finish(&mut out).expect("memory takes all");
    assert_eq!(String::from_utf8_lossy(&out), agreed(&token, log.as_bytes()));
}

/// The text after `\x1b^` is hidden up to its end, but another sequence is in it. So the terminal shows all
/// of it.
#[test]
fn a_string_that_is_no_string_is_masked_before_a_pause() {
    let token = long_jwt(1_790_000_000);
    let text = STANDARD.encode(&token);
    let lines = text.as_bytes().chunks(60).map(String::from_utf8_lossy);
    let log = format!("\x1b^{}\n", lines.collect::<Vec<_>>().join("\x1b(B\x1b[m"));
    let mut masker = Masker::new([token.as_str()]);
    let mut out = Vec::new();
    let (first, rest) = log.as_bytes().split_at(200);
    masker.push(first, &mut out).expect("memory takes all");
    masker.pause(&mut out).expect("memory takes all");
    assert_eq!(out, b"\x1b^");
    masker.push(rest, &mut out).expect("memory takes all");
    masker.finish(&mut out).expect("memory takes all");
    assert_eq!(String::from_utf8_lossy(&out), agreed(&token, log.as_bytes()));
}

/// The fold leaves digits and prefixes alone, and letters stand alone only far before the list.
#[rstest]
fn folded_octal_numbers_are_no_characters(#[values("2026-11-24T10:00:12.123Z ", "+", "> ")] prefix: &str) {
    let token = long_jwt(1_790_000_000);
    let list = each(&token, " ", |byte| format!("{byte:03o}"));
    for columns in 44..52 {
        let lines = list.as_bytes().chunks(columns).map(String::from_utf8_lossy);
        let list: String = lines.map(|line| format!("{prefix}{line}\n")).collect();
        agreed(
            &token,
            format!("a b c d e\n{}\n{list}", "log ".repeat(2000)).as_bytes(),
        );
    }
}

/// A terminal does not show the first digit of the base64.
#[test]
fn base64_that_begins_in_a_control_sequence_is_masked() {
    let list = each("hunter2!", ",", |byte| byte.to_string());
    let log = format!("\x1b[{}\n", STANDARD.encode(list));
    assert!(agreed("hunter2!", log.as_bytes()).contains(MARK));
}

/// Logs of several slices that consist of encoded tokens. A slice ends within a token, and the next window
/// begins within one.
#[rstest]
#[case(&|tokens: &str| tokens.into())]
#[case(&|tokens: &str| fold(&STANDARD.encode(tokens), 76))]
#[case(&|tokens: &str| fold(tokens, 80))]
#[case(&|tokens: &str| fold(&each(tokens, "", |byte| format!("{byte:02x}")), 60))]
#[case(&|tokens: &str| fold(&each(tokens, " ", |byte| byte.to_string()), 72))]
#[case(&|tokens: &str| dump(tokens))]
fn logs_of_encoded_tokens_are_masked_alike(#[case] encode: &dyn Fn(&str) -> String) {
    let token = long_jwt(1_790_000_000);
    let others = [
        "\n",
        "token: ",
        "a longer text between two of the tokens, in one line\n",
    ];
    let tokens: String = (0..90).map(|at| format!("{}{token}", others[at % 3])).collect();
    let mut log = encode(&tokens);
    log.truncate(150_000);
    assert!(agreed(&token, log.as_bytes()).contains(MARK));
}

/// Another token has the same claims. The window begins within them, in the digits of the dump and in its
/// text column.
#[test]
fn the_rest_of_claims_does_not_continue_their_text_column() {
    let (token, other) = (long_jwt(1_790_000_000), long_jwt(1_790_007_777));
    let list = dump(&each(&other, " ", |byte| format!("{byte:08b}")));
    for blanks in [0, 1000, 4000, 7000] {
        let log = format!("{}\n{list}", " ".repeat(blanks));
        assert_eq!(agreed(&token, log.as_bytes()), log);
    }
}

/// The lines of a text, each with `columns` bytes.
fn fold(text: &str, columns: usize) -> String {
    let lines = text.as_bytes().chunks(columns).map(String::from_utf8_lossy);
    lines.map(|line| format!("{line}\n")).collect()
}

/// A dump as `xxd` prints it.
fn dump(text: &str) -> String {
    let lines = text.as_bytes().chunks(16).enumerate().map(|(at, line)| {
        let pairs = line
            .chunks(2)
            .map(|pair| each(&String::from_utf8_lossy(pair), "", |byte| format!("{byte:02x}")));
        let digits = pairs.collect::<Vec<_>>().join(" ");
        let text = String::from_utf8_lossy(line).replace('\n', ".");
        format!("{:08x}: {digits:<39}  {text}\n", 16 * at)
    });
    lines.collect()
}
