use strict;
use FindBin qw($Bin);
require "$Bin/script.pl";
run('MariaDB', "mariadb_ssl=1;mariadb_ssl_ca_file=" . ($ENV{DB_CA} // '') . ";mariadb_ssl_verify_server_cert=1", 'mariadb_server_prepare');
