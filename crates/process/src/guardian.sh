# The guardian of one process: kills what that process leaves behind when it dies.
#
# stdin is a pipe whose only other end is that process's, so that it ends when the process does,
# however it does. Until then it carries lines:
#   +GROUP   a child was started, in a process group of this number
#   -GROUP   the group is gone
# $1 is a word that all descendants of the process have in their environment, and nobody else.
# Works in dash, bash and busybox; without grep it kills the groups alone.

trap '' HUP INT QUIT TERM

# The groups are a list linked both ways, in variables named for them: a line costs the same however many
# there are, and at the end the list is walked without a fork, for which there may be no process left.
first=
while IFS= read -r line; do
    group=${line#?}
    case $group in
    '' | *[!0-9]*) continue ;;
    esac
    eval "known=\${next_$group+known}"
    case $line$known in
    +*known) ;;
    +*)
        eval "next_$group=\$first previous_$group="
        if [ "$first" ]; then eval "previous_$first=\$group"; fi
        first=$group
        ;;
    -*known)
        eval "next=\$next_$group previous=\$previous_$group"
        unset "next_$group" "previous_$group"
        if [ "$next" ]; then eval "previous_$next=\$previous"; fi
        if [ "$previous" ]; then eval "next_$previous=\$next"; else first=$next; fi
        ;;
    esac
done

group=$first
while [ "$group" ]; do
    kill -KILL "-$group"
    eval "group=\$next_$group"
done

# Descendants that left the groups, and children whose group we were not told of any more, each with the
# group that it may lead. A killed one may have started another meanwhile, and one that executes another
# program right now shows no environment: hence look again until nobody is found, and again after a while.
# What cannot be killed ends the search some time.
looks=0
for pause in 0 0.01 0.03 0.1 0.3; do
    sleep "$pause"
    found=1
    while [ "$found" -eq 1 ] && [ "$looks" -lt 200 ]; do
        looks=$((looks + 1))
        found=0
        for environ in $(grep -lsF -e "$1" /proc/[0-9]*/environ); do
            found=1
            pid=${environ#/proc/}
            pid=${pid%/environ}
            kill -KILL "-$pid"
            kill -KILL "$pid"
        done
    done
done
