import Shell

Pgcache.main()
