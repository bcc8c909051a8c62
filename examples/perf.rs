use pgsqlite::{deltastream as ds, deltamirror as dm, sqlite};
use std::time::Instant;
use std::sync::atomic::AtomicBool;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    sqlite::testing::load().unwrap();
    let stop = AtomicBool::new(false);
    match a[1].as_str() {
        "setup" => { println!("{:?}", ds::setup(&ds::SetupOptions{conninfo:a[2].clone(),slot:a[3].clone(),stream:Some(a[4].clone().into()),tables:vec![a[5].clone()],publication:Some("bench".into()),plugin:ds::Plugin::Pgoutput}).unwrap()); }
        "run" => { let t=Instant::now(); let mut o = ds::Options::new(&a[2],&a[3],&a[4]); o.publication=Some("bench".into()); o.until_lsn=Some(a[5].parse().unwrap());
            let s = ds::run(o, Box::new(|_| {})).unwrap(); println!("seconds {}", t.elapsed().as_secs_f64()); println!("{s:?}"); }
        "init" => { let db=sqlite::Db::open(std::path::Path::new(&a[3]), sqlite::Access::Create).unwrap(); db.exec("pragma journal_mode=wal; pragma synchronous=normal").unwrap();
            let src=dm::StreamSource::open(a[4].as_ref()).unwrap();
            println!("{:?}", dm::init(&db,&pgsqlite::libpq::Conninfo::parse(&a[2]).unwrap(),&src,&Default::default(),&stop,&mut |_|{}).unwrap()); }
        "apply" => { let db=sqlite::Db::open(std::path::Path::new(&a[2]), sqlite::Access::Create).unwrap(); db.exec("pragma synchronous=normal").unwrap();
            if let Some(c)=a.get(4) { db.exec(&format!("{c}")).unwrap(); }
            let src=dm::StreamSource::open(a[3].as_ref()).unwrap();
            let t=Instant::now(); let r=dm::apply(&db,&src,None,{let mut o=dm::Options::default(); if let Some(n)=a.get(5){o.batch_changes=n.parse().unwrap(); o.batch_time=std::time::Duration::from_millis(a[6].parse().unwrap());} o},&stop).unwrap(); println!("seconds {}", t.elapsed().as_secs_f64()); println!("{:?}", r.counts); }
        _ => panic!()
    }
}
