/// libpq's `options` that every connection of CDC has in common, and that of the catalog (manual, 20.1.4 `-c`).
///
/// ALTER DATABASE and ALTER ROLE can set each of these, and row images and the definitions of views are printed under
/// them.
public enum ConnectionOptions {
    public static let fixed =
        "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 "
        + "-c bytea_output=hex -c client_encoding=UTF8 -c lc_monetary=C "
        + "-c standard_conforming_strings=on -c search_path=pg_catalog"
}
