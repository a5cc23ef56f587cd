//! The words of SQL that matter, in lower case.

/// What a word is to SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing in particular: a name.
    Plain,
    All,
    Alter,
    And,
    As,
    Begin,
    Between,
    /// `true`, `false`, `null`
    Constant,
    By,
    Call,
    Case,
    Create,
    Declare,
    Delete,
    Drop,
    Else,
    End,
    Exec,
    Exists,
    From,
    Group,
    Having,
    If,
    In,
    Insert,
    Into,
    Is,
    Like,
    Limit,
    Not,
    /// `table`, `database`, `user`, `function`, …: what is created and dropped.
    Object,
    Or,
    /// `div`, `mod`, `collate`: operators that are words.
    Operator,
    Order,
    Outfile,
    Procedure,
    Select,
    Set,
    Shutdown,
    Then,
    Top,
    Truncate,
    Union,
    Update,
    Values,
    Waitfor,
    When,
    Where,
    /// `delay`, `time`, after `waitfor`.
    Delay,
    /// A function nobody calls with good intent through a parameter: waits, files, errors on purpose.
    Danger,
    /// A function that hardly anything but SQL has.
    Function,
    /// A function that SQL shares with other languages.
    Common,
    /// A table or schema of the database itself.
    System,
}

/// What `word`, in lower case, is.
pub(super) fn look_up(word: &[u8]) -> Word {
    if word.len() < 2 || word.len() > 32 {
        return Word::Plain;
    }
    keyword(word)
        .or_else(|| function(word))
        .unwrap_or_else(|| other(word))
}

fn keyword(word: &[u8]) -> Option<Word> {
    Some(match word {
        b"all" | b"distinct" | b"distinctrow" => Word::All,
        b"alter" | b"rename" => Word::Alter,
        b"and" => Word::And,
        b"as" => Word::As,
        b"begin" => Word::Begin,
        b"between" => Word::Between,
        b"true" | b"false" | b"null" => Word::Constant,
        b"by" => Word::By,
        b"call" => Word::Call,
        b"case" => Word::Case,
        b"create" => Word::Create,
        b"declare" => Word::Declare,
        b"delete" => Word::Delete,
        b"drop" => Word::Drop,
        b"else" => Word::Else,
        b"end" => Word::End,
        b"exec" | b"execute" => Word::Exec,
        b"exists" => Word::Exists,
        b"from" => Word::From,
        b"group" => Word::Group,
        b"having" => Word::Having,
        b"if" | b"iif" => Word::If,
        b"in" => Word::In,
        b"insert" | b"replace" | b"merge" => Word::Insert,
        b"into" => Word::Into,
        b"is" => Word::Is,
        b"like" | b"rlike" | b"regexp" | b"ilike" | b"glob" | b"similar" | b"sounds" => Word::Like,
        b"limit" | b"offset" | b"fetch" => Word::Limit,
        b"not" => Word::Not,
        b"table" | b"database" | b"schema" | b"view" | b"function" | b"trigger" | b"index"
        | b"role" | b"login" | b"temporary" | b"tables" | b"column" => Word::Object,
        b"or" | b"xor" => Word::Or,
        b"div" | b"mod" | b"collate" => Word::Operator,
        b"order" => Word::Order,
        b"outfile" | b"dumpfile" => Word::Outfile,
        b"procedure" => Word::Procedure,
        b"select" => Word::Select,
        b"set" => Word::Set,
        b"shutdown" => Word::Shutdown,
        b"then" => Word::Then,
        b"top" => Word::Top,
        b"truncate" => Word::Truncate,
        b"union" | b"intersect" | b"except" | b"minus" => Word::Union,
        b"update" => Word::Update,
        b"values" => Word::Values,
        b"waitfor" => Word::Waitfor,
        b"when" => Word::When,
        b"where" => Word::Where,
        b"delay" | b"time" => Word::Delay,
        _ => return None,
    })
}

fn function(word: &[u8]) -> Option<Word> {
    Some(match word {
        // They wait.
        b"sleep" | b"benchmark" | b"pg_sleep" | b"pg_sleep_for" | b"randomblob"
        | b"generate_series" | b"get_lock" | b"dbms_lock" | b"dbms_pipe" | b"user_lock"
        | b"crypt_key" | b"regexp_substring"
        // They read and write files, run programs, reach out.
        | b"load_file" | b"xp_cmdshell" | b"xp_dirtree" | b"xp_regread" | b"xp_regwrite"
        | b"xp_fileexist" | b"xp_servicecontrol" | b"xp_subdirs" | b"xp_availablemedia"
        | b"sp_executesql" | b"sp_oacreate" | b"sp_oamethod" | b"sp_configure" | b"sp_password"
        | b"sp_makewebtask" | b"sp_addextendedproc" | b"sp_adduser" | b"openrowset"
        | b"openquery" | b"opendatasource" | b"utl_http" | b"utl_inaddr" | b"utl_file"
        | b"utl_smtp" | b"dbms_ldap" | b"dbms_java" | b"dbms_xmlgen" | b"dbms_utility"
        | b"dbms_scheduler" | b"httpuritype" | b"lo_import" | b"lo_export"
        | b"pg_read_file" | b"pg_ls_dir" | b"pg_read_binary_file" | b"load_extension" | b"lo_get" | b"lo_create"
        | b"sys_eval" | b"sys_exec" | b"master_pos_wait" | b"query_to_xml"
        | b"database_to_xml" | b"table_to_xml"
        // They fail on purpose, and tell something by it.
        | b"extractvalue" | b"updatexml" | b"xmltype" | b"make_set" | b"elt" | b"ctxsys"
        | b"gtid_subset" | b"gtid_subtract" | b"json_keys" | b"name_const" | b"st_latfromgeohash"
        | b"st_longfromgeohash" | b"st_pointfromgeohash" | b"geometrycollection"
        | b"multipolygon" | b"multilinestring" | b"ordsys" | b"sqlid_to_sqlhash"
        | b"analyse" => Word::Danger,
        b"aes_decrypt" | b"aes_encrypt" | b"des_decrypt" | b"bit_length" | b"bit_count"
        | b"char_length" | b"character_length" | b"charindex" | b"chr" | b"coalesce"
        | b"concat_ws" | b"connection_id" | b"current_database" | b"current_schema"
        | b"current_setting" | b"current_user" | b"dbms_random" | b"db_id" | b"db_name"
        | b"export_set" | b"fn_virtualfilestats" | b"found_rows" | b"from_base64"
        | b"from_days" | b"from_unixtime" | b"group_concat" | b"has_table_privilege"
        | b"host_name" | b"ifnull" | b"inet6_aton" | b"inet_aton" | b"inet_ntoa" | b"instr"
        | b"is_srvrolemember" | b"is_member" | b"isnull" | b"last_insert_id" | b"listagg"
        | b"ltrim" | b"nchar" | b"nullif" | b"nvl" | b"octet_length" | b"old_password" | b"ord"
        | b"original_db_name" | b"patindex" | b"pg_database" | b"quotename" | b"rawtohex"
        | b"row_count" | b"row_number" | b"rpad" | b"lpad" | b"rtrim" | b"schema_name"
        | b"session_user" | b"soundex" | b"space" | b"sqlite_version" | b"string_agg"
        | b"substring_index" | b"suser_name" | b"suser_sname" | b"sysdate" | b"sys_context"
        | b"system_user" | b"timestampadd" | b"timestampdiff" | b"to_base64" | b"to_char"
        | b"to_number" | b"to_days" | b"unhex" | b"unicode" | b"unix_timestamp" | b"user_name"
        | b"uncompress" | b"uuid_short" | b"varchar" | b"wm_concat" | b"xmlagg" | b"xmlelement"
        | b"version_comment" | b"procedure_analyse" | b"row" | b"sqlite_source_id"
        | b"typeof" | b"object_id" | b"object_name" | b"col_name" | b"utc_timestamp"
        | b"cast" | b"convert" | b"crc32" | b"is_used_lock" | b"release_lock" | b"rand"
        | b"find_in_set" | b"unistr" | b"json_extract" | b"polygon" | b"linestring" | b"multipoint" | b"pow" => Word::Function,
        b"abs" | b"ascii" | b"avg" | b"ceil" | b"ceiling" | b"char" | b"concat" | b"count"
        | b"curdate" | b"date" | b"decode" | b"encode" | b"exp" | b"floor" | b"format" | b"hex"
        | b"insert" | b"lcase" | b"least" | b"left" | b"length" | b"len" | b"locate" | b"lower"
        | b"max" | b"md5" | b"mid" | b"min" | b"now" | b"password" | b"position" | b"power"
        | b"random" | b"repeat" | b"reverse" | b"right" | b"round" | b"sha" | b"sha1"
        | b"sha2" | b"sign" | b"sqrt" | b"strcmp" | b"substr" | b"substring" | b"sum" | b"trim"
        | b"ucase" | b"upper" | b"user" | b"uuid" | b"version" | b"year" | b"greatest" => {
            Word::Common
        }
        _ => return None,
    })
}

fn other(word: &[u8]) -> Word {
    match word {
        b"information_schema"
        | b"performance_schema"
        | b"sysobjects"
        | b"syscolumns"
        | b"sysusers"
        | b"sysdatabases"
        | b"sysprocesses"
        | b"systables"
        | b"syscat"
        | b"sysibm"
        | b"sysmaster"
        | b"pg_catalog"
        | b"pg_user"
        | b"pg_shadow"
        | b"pg_tables"
        | b"pg_class"
        | b"pg_namespace"
        | b"pg_stat_activity"
        | b"sqlite_master"
        | b"sqlite_schema"
        | b"sqlite_temp_master"
        | b"msysobjects"
        | b"msysaccessobjects"
        | b"msysaces"
        | b"msysqueries"
        | b"msysrelationships"
        | b"msysaccessstorage"
        | b"msysaccessxml"
        | b"msysmodules"
        | b"msysmodules2"
        | b"all_tables"
        | b"all_users"
        | b"all_tab_columns"
        | b"user_tables"
        | b"user_tab_columns"
        | b"user_tab_cols"
        | b"user_objects"
        | b"user_users"
        | b"user_triggers"
        | b"user_db_links"
        | b"user_constraints"
        | b"user_ind_columns"
        | b"all_objects"
        | b"dba_tables"
        | b"dba_users"
        | b"sys_tables"
        | b"rdb$fields"
        | b"rdb$types"
        | b"rdb$collations"
        | b"rdb$functions"
        | b"msdb"
        | b"rdb$database"
        | b"rdb$relations"
        | b"rdb$relation_fields"
        | b"tempdb"
        | b"v$version"
        | b"v$instance" => Word::System,
        _ => Word::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_words_of_several_dialects() {
        assert_eq!(look_up(b"select"), Word::Select);
        assert_eq!(look_up(b"pg_sleep"), Word::Danger);
        assert_eq!(look_up(b"chr"), Word::Function);
        assert_eq!(look_up(b"count"), Word::Common);
        assert_eq!(look_up(b"information_schema"), Word::System);
        assert_eq!(look_up(b"selected"), Word::Plain);
        assert_eq!(look_up(b"x"), Word::Plain);
    }
}
