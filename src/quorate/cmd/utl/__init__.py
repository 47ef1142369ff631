"""`etcdutl`: work on the files of members that do not run.

    commands    which there are, with their flags, and what each calls in `server.offline`
    main        from words to an exit code
    usage       help, and the scripts that complete command lines
    show        the formats of answers: simple, json, fields, table

Command lines are read as `etcdctl` reads them (`cmd.ctl.flags`). Results go to stdout; what is done meanwhile goes to
stderr as log lines, and what cannot be done as one line, `Error: …`. Exit codes: 0; 1 for what the files or the disk
have against it; 4 for a format that a command does not have; 128 for arguments that make no sense; 130 and 143 for
Ctrl-C and SIGTERM, which take back what was begun.
"""
