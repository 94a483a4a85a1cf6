# Who never finishes? The ten addresses with the most connections that had no reply at their deadline: the number of
# these connections, how many of them sent nothing, and the beginning of the last request.
#
#   jq -nRrf unfinished.jq /var/log/upcase.log
#   journalctl -u 'upcase*' -o cat | jq -nRrf unfinished.jq

# A line that was cut is skipped.
reduce (inputs | fromjson? | objects | select(.outcome == "timed-out")) as $line ({};
    .[$line.peer | .[:rindex(":")]] |= {
        all: ((.all // 0) + 1),
        silent: ((.silent // 0) + if $line.request_bytes == 0 then 1 else 0 end),
        last: $line.request[:40]
    })
| to_entries | sort_by(-.value.all) | .[:10][]
| "\(.key) unfinished \(.value.all), sent nothing \(.value.silent), last \(.value.last)"
