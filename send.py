import json, sys, time
from confluent_kafka import Producer
p = Producer({"bootstrap.servers": sys.argv[1]})
for i in range(100):
    for n in range(5):
        t = int(time.time() * 1000)
        r = {"patient_id": f"P-{n:03}", "timestamp": t, "heart_rate": 80 + i % 7, "spo2": 96.5, "systolic_bp": 121, "diastolic_bp": 79, "respiratory_rate": 14}
        p.produce("vitals", key=r["patient_id"], value=json.dumps(r))
    if i == 50: p.produce("vitals", key="x", value=b"{}")
    p.poll(0); time.sleep(1)
p.flush()
