# Serves page.html with nothing but what debian:bookworm-slim brings: one process, one select loop.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my $port = $ENV{PORT} // 3000;
my $host = $ENV{HOST} // '0.0.0.0';

open(my $file, '<', 'page.html') or die "page.html: $!\n";
my $page = do { local $/; <$file> };

my $listener = IO::Socket::INET->new(
    LocalAddr => $host, LocalPort => $port, Listen => 128, ReuseAddr => 1, Blocking => 0)
    or die "can't listen on $host:$port: $!\n";

$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { print "stopping\n"; exit 0 };
print "listening on $host:$port\n";

sub answer {
    my ($method, $path) = @_;
    my ($status, $body) = $path eq '/' ? ('200 OK', $page) : ('404 Not Found', "no such page\n");
    my $type = $path eq '/' ? 'text/html' : 'text/plain';
    print "$method $path $status\n";
    return "HTTP/1.1 $status\r\nContent-Type: $type; charset=utf-8\r\n"
        . 'Content-Length: ' . length($body) . "\r\nConnection: close\r\n\r\n"
        . ($method eq 'HEAD' ? '' : $body);
}

my $readable = IO::Select->new($listener);
my %requests;
while (1) {
    for my $socket ($readable->can_read()) {
        if ($socket == $listener) {
            my $client = $listener->accept() or next;
            $readable->add($client);
            $requests{$client} = '';
            next;
        }
        my $got = sysread($socket, $requests{$socket}, 8192, length $requests{$socket});
        if ($got && $requests{$socket} !~ /\r\n\r\n/ && length $requests{$socket} < 65536) { next }
        if ($requests{$socket} =~ m{^([A-Z]+) ([^ ?]+)\S* HTTP/1\.[01]\r\n.*?\r\n\r\n}s) {
            syswrite($socket, answer($1, $2));
        }
        $readable->remove($socket);
        delete $requests{$socket};
        close $socket;
    }
}
