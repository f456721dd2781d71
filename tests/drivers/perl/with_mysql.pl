use strict;
use FindBin qw($Bin);
require "$Bin/script.pl";
run('mysql', "mysql_ssl=1;mysql_ssl_optional=1;mysql_ssl_ca_file=" . ($ENV{DB_CA} // '') . "", 'mysql_server_prepare', mysql_enable_utf8mb4 => 1);
