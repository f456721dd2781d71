//! What a name in front of a `(` may do.
//!
//! Decides which functions are known to be free of side effects. A name that is not here may be a stored function or
//! a loadable one, in the dialect at hand: it could do anything.

use super::facts::{Dialect, Effects};
use super::words::Words;

/// What a name in front of a `(` is known as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A built-in function that only computes.
    Harmless,
    /// Not a function: a keyword that a `(` may follow.
    Keyword,
    /// A built-in function with an effect that a router has to know.
    Effect(Effects),
}

/// What `name` is known as in `dialect`; `None` if it may be a function that somebody wrote.
#[inline]
pub(super) fn call(name: &[u8], dialect: Dialect) -> Option<Call> {
    let (call, home) = NAMES.of(name)?;
    let known = match home {
        Home::Both => true,
        Home::MySql => dialect == Dialect::MySql,
        Home::MariaDb => dialect == Dialect::MariaDb,
    };
    known.then_some(call)
}

/// Whose built-in a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Both,
    MySql,
    MariaDb,
}

const ADVISORY_LOCK: Call = Call::Effect(Effects::ADVISORY_LOCK);
const CONNECTION: Call = Call::Effect(Effects::CONNECTION);
const CONNECTION_ID: Call = Call::Effect(Effects::CONNECTION.with(Effects::CONNECTION_ID));

static NAMES: Words<(Call, Home), 2048> = Words::new(&[
    ((ADVISORY_LOCK, Home::Both), "get_lock release_lock is_free_lock is_used_lock"),
    ((ADVISORY_LOCK, Home::MySql), "service_get_read_locks service_get_write_locks service_release_locks"),
    ((Call::Effect(Effects::ADVISORY_LOCK.with(Effects::RELEASE_ALL_LOCKS)), Home::Both), "release_all_locks"),
    ((Call::Effect(Effects::DIAGNOSTICS), Home::Both), "last_insert_id row_count found_rows"),
    ((Call::Effect(Effects::FILE), Home::Both), "load_file"),
    ((Call::Effect(Effects::SEQUENCE), Home::MariaDb), "nextval lastval setval"),
    ((CONNECTION_ID, Home::Both), "connection_id"),
    ((CONNECTION_ID, Home::MySql), "ps_current_thread_id"),
    ((CONNECTION, Home::Both), "uuid_short master_pos_wait"),
    (
        (CONNECTION, Home::MySql),
        "ps_thread_id source_pos_wait wait_for_executed_gtid_set wait_until_sql_thread_after_gtids",
    ),
    (
        (CONNECTION, Home::MariaDb),
        "master_gtid_wait binlog_gtid_pos wsrep_last_written_gtid wsrep_last_seen_gtid wsrep_sync_wait_upto_gtid",
    ),
    ((Call::Keyword, Home::Both), KEYWORDS),
    ((Call::Keyword, Home::MySql), "of lateral groups cube rollup qualify"),
    ((Call::Keyword, Home::MariaDb), "returning"),
    ((Call::Harmless, Home::Both), COMMON),
    ((Call::Harmless, Home::Both), TEXT_AND_JSON),
    ((Call::Harmless, Home::Both), SPATIAL),
    ((Call::Harmless, Home::MySql), MYSQL),
    ((Call::Harmless, Home::MariaDb), MARIADB),
]);

/// Words of the grammar that a `(` may follow, among them the types of casts and columns.
const KEYWORDS: &str = "
    against all and any as between by case check collate columns cross distinct distinctrow div else end escape except
    exists for force nested rows from full group having ignore in index inner intersect interval into is join key keys like limit
    match natural not offset on or order outer over partition path primary procedure recursive regexp rlike row select
    separator set some sounds straight_join table then union unique update use using value when where window with xor
    binary bit blob bool boolean char_varying character datetime dec decimal double enum fixed float int integer bigint
    mediumint smallint tinyint nchar national numeric nvarchar real signed text unsigned varbinary varchar
    fields lines tables identified to low_priority high_priority analyze explain describe desc delete return
    sql_calc_found_rows sql_no_cache sql_cache sql_small_result sql_big_result sql_buffer_result both leading trailing
    array";

/// Numbers, dates, aggregates, windows, encryption and facts about the session that every server gives alike.
const COMMON: &str = "
    abs acos adddate addtime aes_decrypt aes_encrypt asin atan atan2 avg benchmark bin bit_and bit_count bit_length
    bit_or bit_xor cast ceil ceiling char_length character_length coalesce coercibility compress connection conv
    convert convert_tz cos cot count crc32 cume_dist curdate current_date current_role current_time current_timestamp
    current_user curtime database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek
    dayofyear default degrees dense_rank exp extract first_value floor format_pico_time from_days from_unixtime
    get_format greatest group_concat hour if ifnull insert instr isnull lag last_day last_value lead least left ln
    localtime localtimestamp log log10 log2 makedate maketime max md5 microsecond mid min minute mod month monthname
    name_const now nth_value ntile nullif oct period_add period_diff pi position pow power quarter radians rand
    percent_rank random_bytes rank repeat replace right round row_number schema sec_to_time second session_user sha
    sha1 sha2 sign sin sleep sqrt std stddev stddev_pop stddev_samp str_to_date subdate subtime sum sysdate
    system_user tan time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_days to_seconds
    truncate uncompress uncompressed_length unix_timestamp user utc_date utc_time utc_timestamp uuid values
    var_pop var_samp variance version week weekday weekofyear year yearweek";

const TEXT_AND_JSON: &str = "
    ascii char charset collation concat concat_ws elt export_set extractvalue field find_in_set format from_base64 hex
    inet6_aton inet6_ntoa inet_aton inet_ntoa is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 lcase length locate lower
    lpad ltrim make_set octet_length ord quote regexp_instr regexp_replace regexp_substr reverse rpad rtrim soundex
    space strcmp substr substring substring_index to_base64 trim ucase unhex updatexml upper weight_string
    json_array json_array_append json_array_insert json_arrayagg json_contains json_contains_path json_depth
    json_extract json_insert json_keys json_length json_merge json_merge_patch json_merge_preserve json_object
    json_objectagg json_overlaps json_pretty json_quote json_remove json_replace json_schema_valid json_search
    json_set json_table json_type json_unquote json_valid json_value";

const SPATIAL: &str = "
    geometry geometrycollection linestring mbrcontains mbrcoveredby mbrdisjoint mbrequals mbrintersects mbroverlaps
    mbrtouches mbrwithin multilinestring multipoint multipolygon point polygon st_area st_asbinary st_asgeojson
    st_astext st_aswkb st_aswkt st_buffer st_centroid st_collect st_contains st_convexhull st_crosses st_difference
    st_dimension st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring
    st_geohash st_geomcollfromtext st_geomcollfromwkb st_geometrycollectionfromtext st_geometrycollectionfromwkb
    st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_geomfromgeojson st_geomfromtext
    st_geomfromwkb st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_issimple st_isvalid
    st_latfromgeohash st_length st_linefromtext st_linefromwkb st_linestringfromtext st_linestringfromwkb
    st_longfromgeohash st_mlinefromtext st_mlinefromwkb st_mpointfromtext st_mpointfromwkb st_mpolyfromtext
    st_mpolyfromwkb st_multilinestringfromtext st_multilinestringfromwkb st_multipointfromtext st_multipointfromwkb
    st_multipolygonfromtext st_multipolygonfromwkb st_numgeometries st_numinteriorrings st_numpoints st_overlaps
    st_pointfromgeohash st_pointfromtext st_pointfromwkb st_pointn st_polyfromtext st_polyfromwkb
    st_polygonfromtext st_polygonfromwkb st_simplify st_srid st_startpoint st_symdifference st_touches st_union
    st_validate st_within st_x st_y";

const MYSQL: &str = "
    any_value bin_to_uuid format_bytes geomcollection grouping gtid_subset gtid_subtract icu_version is_uuid
    json_schema_validation_report json_storage_free json_storage_size mbrcovers regexp_like roles_graphml
    st_buffer_strategy st_frechetdistance st_geomcollfromtxt st_hausdorffdistance st_latitude st_lineinterpolatepoint
    st_lineinterpolatepoints st_longitude st_makeenvelope st_numinteriorring st_pointatdistance st_swapxy st_transform
    statement_digest statement_digest_text uuid_to_bin validate_password_strength distance string_to_vector
    vector_to_string vector_dim to_vector from_vector";

const MARIADB: &str = "
    add_months chr column_add column_check column_create column_delete column_exists column_get column_json
    column_list concat_operator_oracle crc32c decode decode_histogram decode_oracle des_decrypt des_encrypt encode
    encrypt json_array_intersect json_compact json_detailed json_equals json_exists json_key_value json_loose
    json_normalize json_object_filter_keys json_object_to_array json_query json_unescape kdf lengthb lpad_oracle
    ltrim_oracle median natural_sort_key nvl nvl2 old_password password percentile_cont percentile_disc
    replace_oracle rpad_oracle rtrim_oracle sformat st_boundary st_isring st_pointonsurface st_relate
    substr_oracle sys_guid to_char to_date to_number trim_oracle uuid_v4 uuid_v7 vec_distance vec_distance_cosine
    vec_distance_euclidean vec_fromtext vec_totext area asbinary astext aswkb aswkt boundary buffer centroid
    contains convexhull crosses dimension disjoint endpoint envelope equals exteriorring geomcollfromtext
    geomcollfromwkb geometrycollectionfromtext geometrycollectionfromwkb geometryfromtext geometryfromwkb geometryn
    geometrytype geomfromtext geomfromwkb glength interiorringn intersects isclosed isempty isring issimple
    linefromtext linefromwkb linestringfromtext linestringfromwkb mbrequal mlinefromtext mlinefromwkb mpointfromtext
    mpointfromwkb mpolyfromtext mpolyfromwkb multilinestringfromtext multilinestringfromwkb multipointfromtext
    multipointfromwkb multipolygonfromtext multipolygonfromwkb numgeometries numinteriorrings numpoints overlaps
    pointfromtext pointfromwkb pointn pointonsurface polyfromtext polyfromwkb polygonfromtext polygonfromwkb srid
    startpoint touches within x y";
