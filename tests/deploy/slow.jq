# Who is slow? The ten addresses with the longest connections: how long the longest was, how many took a second or
# more, and how many connections there were.
#
#   jq -nRrf slow.jq /var/log/upcase.log
#   journalctl -u 'upcase*' -o cat | jq -nRrf slow.jq

# A line that was cut is skipped.
reduce (inputs | fromjson? | objects | select(.outcome)) as $line ({};
    .[$line.peer | .[:rindex(":")]] |= {
        longest: ([.longest // 0, $line.seconds] | max),
        slow: ((.slow // 0) + if $line.seconds >= 1 then 1 else 0 end),
        all: ((.all // 0) + 1)
    })
| to_entries | sort_by(-.value.longest) | .[:10][]
| "\(.key) longest \(.value.longest) s, a second or more \(.value.slow), all \(.value.all)"
