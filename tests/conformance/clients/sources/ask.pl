# Asks with Perl's LWP: `perl ask.pl BASE MANIFEST ANSWERS`.

use strict;
use warnings;
use HTTP::Request;
use LWP::UserAgent;

my ($base, $manifest, $answers) = @ARGV;
my $agent = LWP::UserAgent->new(keep_alive => 1);
open(my $lines, "<", $manifest) or die $!;
while (my $line = <$lines>) {
    chomp $line;
    my ($name, $method, $path, $file, $how, @told) = split(/\t/, $line, -1);
    my $request = HTTP::Request->new($method, $base . $path, [map { split(/: /, $_, 2) } @told]);
    if ($file ne "") {
        open(my $content, "<:raw", $file) or die $!;
        if ($how eq "chunked") {
            $request->content(sub { read($content, my $piece, 4096); return $piece; });
        } else {
            local $/;
            $request->content(<$content>);
        }
    }
    my $reply = $agent->request($request);
    open(my $answer, ">:raw", "$answers/$name") or die $!;
    print $answer $reply->content;
    close($answer);
    print "$name\t", $reply->code, "\n";
}
