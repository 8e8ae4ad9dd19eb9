#!/bin/sh
# compiler_cache.sh CCACHE COMPILER ARGUMENT...: the compiler by way of ccache.
#
# A precompiled header that is made anew must not see its predecessor: with -fpch-preprocess, which
# ccache needs, the preprocessor takes that one for the header's text, so ccache would look up what
# once followed the old one and not what follows the headers of now. Objects of two layouts in one
# program were what came of it.
ccache=$1
shift
case " $* " in
  *" c++-header "*)
    output=''
    for argument; do
      [ "$output" != next ] || { rm -f -- "$argument"; break; }
      [ "$argument" != -o ] || output=next
    done
    ;;
esac
exec "$ccache" "$@"
